"""Makes model calls: system prompt, tools and history of whoever speaks next in a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flotilla_orchestrator.graphs.context import ModelReply, ModelTurn, RunContext, Step
from flotilla_orchestrator.graphs.messages import caller_tool_definition
from flotilla_orchestrator.graphs.prompt import Prompt, date_of, fence_recalled
from flotilla_orchestrator.model import MessageDict

_LAST_CALL = "You have used all the tool calls of this turn. Answer now, with what you know."


class Audience(Enum):
    """For whom a reply is."""

    GRAPH = "graph"
    CALLER = "caller"
    REVIEWER = "reviewer"
    """It becomes the caller's once it is approved."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """One voice of an agent: a prompt with the models and tools that go with it."""

    prompt: Prompt
    routes: tuple[str, ...]
    max_output_tokens: int
    tools: frozenset[str] = frozenset()
    temperature: float | None = None
    name: str = ""
    """The `name` of its messages; empty outside multi-agent graphs."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One model call, apart from who makes it."""

    messages: Sequence[MessageDict]
    """The conversation, without a system prompt."""
    audience: Audience
    offers_tools: bool = True
    values: Mapping[str, str] | None = None
    """For the prompt's variables."""
    notes: Sequence[str] = ()
    """Blocks appended to the system prompt."""
    response_format: Mapping[str, Any] | None = None


async def speak(speaker: Speaker, ask: Ask, run: RunContext, step: Step) -> ModelReply:
    """Makes the call with the whole history; the model layer trims it to the window of whichever route takes it."""
    tools = _tools(speaker, ask, run)
    remembered = await run.recall() if _shows_memory(speaker, ask) else ""
    system = MessageDict(type="system", content=_system_text(speaker, ask, run, remembered))
    turn = ModelTurn(
        messages=[system, *ask.messages],
        routes=speaker.routes,
        tools=tools,
        response_format=ask.response_format,
        temperature=speaker.temperature,
        max_output_tokens=speaker.max_output_tokens,
        is_answer=ask.audience is Audience.CALLER,
        is_draft=ask.audience is Audience.REVIEWER,
        speaker=speaker.name,
    )
    return await run.call_model(step, turn)


def _system_text(speaker: Speaker, ask: Ask, run: RunContext, remembered: str) -> str:
    """Assembles prompt, notes, the caller's instructions and what memory knows; nothing ever replaces the prompt."""
    is_for_caller = ask.audience is not Audience.GRAPH
    recalled = fence_recalled(remembered)
    slots = speaker.prompt.slots
    values = {**(ask.values or {}), "recalled": recalled}
    if "date" in slots:
        values["date"] = date_of(run.run_id)
    blocks = [speaker.prompt.render(values).strip(), *ask.notes]
    if speaker.tools and not ask.offers_tools:
        blocks.append(_LAST_CALL)
    if is_for_caller and run.options.instructions:
        blocks.append(run.options.instructions)
    if is_for_caller and "recalled" not in slots:
        blocks.append(recalled)
    return "\n\n".join(block for block in blocks if block)


def _shows_memory(speaker: Speaker, ask: Ask) -> bool:
    return ask.audience is not Audience.GRAPH or "recalled" in speaker.prompt.slots


def _tools(speaker: Speaker, ask: Ask, run: RunContext) -> list[Mapping[str, Any]]:
    offered: list[Mapping[str, Any]] = []
    if ask.offers_tools and speaker.tools:
        offered = [tool for tool in run.tools if tool["function"]["name"] in speaker.tools]
    if ask.audience is not Audience.GRAPH and run.options.caller_tools:
        offered.extend(caller_tool_definition(tool) for tool in run.options.caller_tools)
    return offered
