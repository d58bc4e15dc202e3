"""The tool service's own metrics; labels are the names of registered tools, never a caller's."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from flotilla_tool.model import Result

_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_NO_TOOL = "-"


class ToolMetrics:
    """Counts calls by tool and outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter("flotilla_tool_calls", "Calls answered.", ["tool", "outcome"], registry=registry)
        self._replays = Counter("flotilla_tool_replays", "Results read from the ledger.", ["tool"], registry=registry)
        self._seconds = Histogram(
            "flotilla_tool_invocation_seconds", "Time in a tool.", ["tool"], buckets=_SECONDS, registry=registry
        )

    def answered(self, tool: str | None, result: Result, *, invoked: bool) -> None:
        """Counts one answered call; `tool` is None for a name that may be anything."""
        name = tool or _NO_TOOL
        self._calls.labels(name, result.outcome.name.lower()).inc()
        if result.replayed:
            self._replays.labels(name).inc()
        if invoked:
            self._seconds.labels(name).observe(result.duration_s)
