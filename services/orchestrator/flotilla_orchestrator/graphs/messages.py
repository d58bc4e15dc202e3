"""A graph's messages: plain dicts, how they are added, and whose tool calls they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

from flotilla_common.errors import ResourceExhaustedError
from langchain_core.runnables import RunnableConfig

from flotilla_orchestrator.graphs.context import RunContext, Step
from flotilla_orchestrator.model import CallerTool, MessageDict, ToolCallDict


def add_messages(left: Sequence[MessageDict] | None, right: Sequence[MessageDict] | None) -> list[MessageDict]:
    """Appends messages; one whose id is there already replaces it in its place."""
    if not right:
        return list(left or ())
    merged = list(left or ())
    fresh = {message["id"] for message in right if "id" in message}
    places = {message.get("id"): place for place, message in enumerate(merged) if message.get("id") in fresh}
    for message in right:
        place = places.get(message.get("id"))
        if place is not None:
            merged[place] = message
            continue
        if "id" in message:
            places[message["id"]] = len(merged)
        merged.append(message)
    return merged


class CallCount(TypedDict):
    """How many model calls a run has made; another run's count means none."""

    run: str
    calls: int


class ConversationState(TypedDict, total=False):
    """What every pattern's state has."""

    messages: Annotated[list[MessageDict], add_messages]
    steps: CallCount


def calls_made(state: ConversationState, run: RunContext) -> int:
    """Returns how many model calls the run has made."""
    count = state.get("steps")
    return count["calls"] if count and count["run"] == str(run.run_id) else 0


def count_calls(run: RunContext, calls: int) -> CallCount:
    """Returns the run's count as it is kept in the state."""
    return CallCount(run=str(run.run_id), calls=calls)


def step_of(config: RunnableConfig) -> Step:
    """Returns the name of the step that a node is executing."""
    metadata = config["metadata"]
    parents, _, _ = str(metadata["langgraph_checkpoint_ns"]).rpartition("|")
    return Step(node=metadata["langgraph_node"], namespace=parents, number=metadata["langgraph_step"])


def split_calls(message: MessageDict, run: RunContext) -> tuple[list[ToolCallDict], list[ToolCallDict]]:
    """Returns a message's server-side calls and its caller's calls."""
    calls = message.get("tool_calls") or ()
    if not calls:
        return [], []
    callers = {tool.name for tool in run.options.caller_tools}
    return (
        [call for call in calls if call["name"] not in callers],
        [call for call in calls if call["name"] in callers],
    )


def last_reply(messages: Sequence[MessageDict]) -> MessageDict:
    """Returns the last assistant message."""
    return next(message for message in reversed(messages) if message["type"] == "ai")


def caller_tool_definition(tool: CallerTool) -> Mapping[str, Any]:
    """Returns a caller's tool as OpenAI's definition."""
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }


def refuse_calls_past_limit(calls: int, max_steps: int) -> None:
    """Raises ResourceExhaustedError when the last permitted model call asks for tools although none were offered."""
    if calls >= max_steps:
        raise ResourceExhaustedError(f"The agent did not answer within {max_steps} model calls.", reason="step_limit")


def continues_turn(messages: Sequence[MessageDict]) -> bool:
    """Whether a run's input answers the caller's own tool calls, so that the turn goes on where it stopped."""
    return bool(messages) and messages[-1]["type"] == "tool"
