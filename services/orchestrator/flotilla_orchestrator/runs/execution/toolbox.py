"""Which server-side tools a run may use, and the invocation of all calls of one step."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from flotilla_common.errors import DeadlineExceededError, FlotillaError, UnavailableError
from flotilla_common.request import current_identity

from flotilla_orchestrator.clients.memory import MemoryClient
from flotilla_orchestrator.clients.tool import ToolClient, ToolInvocation, ToolResult, ToolSpec
from flotilla_orchestrator.runs.execution.memory_tools import MEMORY_TOOLS, MemoryTools
from flotilla_orchestrator.runs.metrics import RunMetrics

_log = logging.getLogger(__name__)

RESULT_CAP = 64_000
"""Characters of a tool's result that a model reads at most."""
_FRESH_S = 30.0
_OUTCOME_UNKNOWN = (
    "An earlier attempt at this call may have taken effect. It is not repeated without a human's decision."
)
"""In the words of the tool service, which says it of an attempt whose result nobody stored."""


class ToolDirectory:
    """Knows tools' definitions; they are asked for once in a while, not once a run."""

    def __init__(self, tools: ToolClient, *, metrics: RunMetrics) -> None:
        self._tools = tools
        self._metrics = metrics
        self._known: dict[tuple[UUID, tuple[str, ...]], tuple[float, tuple[ToolSpec, ...]]] = {}

    async def definitions(self, names: Sequence[str], *, with_memory: bool) -> tuple[ToolSpec, ...]:
        """Returns what a model is shown; without the tool service, what is known from before, or nothing of it."""
        remote = tuple(name for name in names if name not in MEMORY_TOOLS)
        own = tuple(MEMORY_TOOLS[name] for name in names if name in MEMORY_TOOLS) if with_memory else ()
        return (await self._listed(remote) if remote else ()) + own

    async def _listed(self, names: tuple[str, ...]) -> tuple[ToolSpec, ...]:
        key = (current_identity().tenant_id, names)
        known_until, known = self._known.get(key, (0.0, ()))
        if time.monotonic() < known_until:
            return known
        try:
            known = await self._tools.list_tools(names)
        except FlotillaError as error:
            self._metrics.degradations["tool"].inc()
            _log.warning("tools cannot be listed", extra={"reason": error.reason, "error": error.message})
            return known
        self._known[key] = (time.monotonic() + _FRESH_S, known)
        return known


class Toolbox:
    """Invokes one run's server-side tools."""

    def __init__(
        self,
        tools: ToolClient,
        memory: MemoryClient,
        *,
        run_id: UUID,
        allowed: Sequence[str],
        read_only: Collection[str],
        metrics: RunMetrics,
    ) -> None:
        """Takes the names of the tools that the run may use, and of those that are known to change nothing."""
        self._tools = tools
        self._memory = MemoryTools(memory, run_id=run_id)
        self._run_id = run_id
        self._allowed = allowed
        self._read_only = read_only
        self._metrics = metrics

    async def invoke(self, calls: Sequence[ToolInvocation]) -> dict[str, ToolResult]:
        """Invokes all calls side by side and returns a result for each, by tool call id; a failure is a result, too."""
        own = [call for call in calls if call.name in MEMORY_TOOLS and call.name in self._allowed]
        remote = [call for call in calls if call not in own]
        results = await asyncio.gather(self._invoke_remote(remote), *(self._invoke_memory(call) for call in own))
        return {result.tool_call_id: _capped(result) for batch in results for result in batch}

    async def _invoke_remote(self, calls: Sequence[ToolInvocation]) -> Sequence[ToolResult]:
        if not calls:
            return ()
        try:
            return await self._tools.invoke(calls, allowed=self._allowed, run_id=self._run_id)
        except FlotillaError as error:
            return [self._failed(call, error, peer="tool") for call in calls]

    async def _invoke_memory(self, call: ToolInvocation) -> Sequence[ToolResult]:
        try:
            return [await self._memory.invoke(call)]
        except FlotillaError as error:
            return [self._failed(call, error, peer="memory")]

    def _failed(self, call: ToolInvocation, error: FlotillaError, *, peer: str) -> ToolResult:
        self._metrics.degradations[peer].inc()
        _log.warning(
            "a tool could not be invoked",
            extra={"peer": peer, "tool": call.name, "reason": error.reason, "error": error.message},
        )
        # A call that broke off may have had its effect, and the model's next one would have a key of its own.
        if isinstance(error, UnavailableError | DeadlineExceededError) and call.name not in self._read_only:
            return ToolResult(call.tool_call_id, _OUTCOME_UNKNOWN, "outcome_unknown")
        if isinstance(error, UnavailableError):
            return ToolResult(call.tool_call_id, f"The tool {call.name} is not available now.", "unavailable")
        return ToolResult(call.tool_call_id, f"The tool {call.name} failed: {error.message}", error.reason or "failed")


def definition(tool: ToolSpec) -> Mapping[str, Any]:
    """Returns a tool as the OpenAI wire defines it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _capped(result: ToolResult) -> ToolResult:
    if len(result.content) <= RESULT_CAP:
        return result
    return ToolResult(result.tool_call_id, result.content[:RESULT_CAP] + "\n[cut here]", result.reason)
