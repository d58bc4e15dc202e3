"""Who may invoke what: decided at the tool boundary, whatever the orchestrator decided before."""

from __future__ import annotations

from flotilla_tool.model import Batch, Outcome, Result, ToolCall
from flotilla_tool.tools.registry import RegisteredTool, ToolRegistry


def permitted_tool(call: ToolCall, batch: Batch, registry: ToolRegistry) -> RegisteredTool | Result:
    """Returns the tool that a call may invoke, or the refusal. A tool that does not exist is refused alike."""
    if call.tool not in batch.allowed_tools:
        return Result(Outcome.REFUSED, "This tool is not permitted here.", reason="not_permitted")
    return registry.get(call.tool) or Result(Outcome.REFUSED, "There is no such tool.", reason="unknown_tool")
