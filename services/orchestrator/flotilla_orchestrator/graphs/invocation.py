"""Invokes the tools that a reply calls, as far as its speaker has them."""

from __future__ import annotations

from flotilla_orchestrator.graphs.context import RunContext, Step
from flotilla_orchestrator.graphs.messages import split_calls
from flotilla_orchestrator.graphs.speaker import Speaker
from flotilla_orchestrator.model import MessageDict, ToolCallDict


async def invoke(speaker: Speaker, message: MessageDict, run: RunContext, step: Step) -> list[MessageDict]:
    """Returns a result for each server-side call, in order.

    The release permits the tools of all its speakers; what one of them was not given is refused here.
    """
    server_calls, _ = split_calls(message, run)
    own = [call for call in server_calls if call["name"] in speaker.tools]
    results: dict[str, MessageDict] = {}
    if own:
        permitted: MessageDict = {**message, "tool_calls": own}
        results = {result["tool_call_id"]: result for result in await run.invoke_tools(step, permitted)}
    return [results.get(call["id"]) or _refusal(call) for call in server_calls]


def _refusal(call: ToolCallDict) -> MessageDict:
    return MessageDict(
        id=f"refused-{call['id']}",
        type="tool",
        content=f"You have no tool '{call['name']}'.",
        tool_call_id=call["id"],
        name=call["name"],
    )
