"""Invokes one tool: in bounded time, with a bounded result, and with an outcome that says no more than is known."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from traceback import extract_tb

from opentelemetry import trace

from flotilla_tool.model import Outcome, Result, ToolArguments, ToolSpec
from flotilla_tool.tools.registry import RegisteredTool
from flotilla_tool.tools.tool import Invocation, ToolError

_log = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__)


class ToolRunner:
    """Invokes tools and cuts what they return."""

    def __init__(self, *, result_cap_bytes: int) -> None:
        self._result_cap_bytes = result_cap_bytes

    async def run(self, entry: RegisteredTool, arguments: ToolArguments, invocation: Invocation) -> Result:
        """Returns what became of the call; a failing tool is a result, never an exception."""
        started = time.perf_counter()
        with _tracer.start_as_current_span(f"execute_tool {entry.spec.name}") as span:
            result = await self._outcome_of(entry, arguments, invocation)
            span.set_attributes({"gen_ai.tool.name": entry.spec.name, "flotilla.tool.outcome": result.outcome.name})
        return Result(
            outcome=result.outcome,
            content=storable(result.content, self._result_cap_bytes),
            reason=result.reason,
            duration_s=time.perf_counter() - started,
        )

    async def _outcome_of(self, entry: RegisteredTool, arguments: ToolArguments, invocation: Invocation) -> Result:
        spec = entry.spec
        try:
            async with asyncio.timeout(spec.timeout_s):
                return Result(Outcome.SUCCEEDED, await entry.tool.invoke(arguments, invocation))
        except ToolError as error:
            return Result(Outcome.FAILED, error.message, reason=error.reason)
        except TimeoutError:
            return _unfinished(spec, f"The tool took longer than {spec.timeout_s:g} s.", reason="timeout")
        except Exception as error:  # noqa: BLE001 - the tool boundary: a tool's defect must not end the others
            _log.error("tool crashed", extra=_where(spec, invocation, error))
            return _unfinished(spec, "The tool failed unexpectedly.", reason="tool_crashed")


def storable(content: str, cap_bytes: int) -> str:
    """Returns the text without what Postgres does not store, cut to the cap with a note that says so."""
    raw = content.replace("\x00", "").encode(errors="replace")
    if len(raw) <= cap_bytes:
        return raw.decode()
    return raw[:cap_bytes].decode(errors="ignore") + f"… [cut: {len(raw)} bytes, shown are {cap_bytes}]"


def _where(spec: ToolSpec, invocation: Invocation, error: Exception) -> dict[str, object]:
    """Returns what a log may say of a crash: not the error's text, which may quote the call's arguments."""
    frames = [f"{Path(at.filename).name}:{at.lineno} {at.name}" for at in extract_tb(error.__traceback__)[-8:]]
    run_id = str(invocation.caller.run_id)
    return {"tool": spec.name, "run_id": run_id, "error": type(error).__name__, "frames": frames}


def _unfinished(spec: ToolSpec, sentence: str, *, reason: str) -> Result:
    """Returns FAILED where another try cannot do harm, UNKNOWN where the effect may have happened."""
    if spec.may_repeat:
        return Result(Outcome.FAILED, sentence, reason=reason)
    return Result(Outcome.UNKNOWN, f"{sentence} Whether it took effect is unknown.", reason=reason)
