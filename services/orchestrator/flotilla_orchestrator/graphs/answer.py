"""The nodes of whoever answers: model ⇄ tools in the open conversation, the same in every pattern."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END
from langgraph.runtime import Runtime
from langgraph.types import Command

from flotilla_orchestrator.graphs.context import RunContext
from flotilla_orchestrator.graphs.invocation import invoke
from flotilla_orchestrator.graphs.messages import (
    ConversationState,
    calls_made,
    count_calls,
    last_reply,
    refuse_calls_past_limit,
    split_calls,
    step_of,
)
from flotilla_orchestrator.graphs.speaker import Ask, Audience, Speaker, speak
from flotilla_orchestrator.graphs.wiring import Graph, add_node


@dataclass(frozen=True, slots=True)
class Briefing:
    """What the speaker is told beside the conversation."""

    values: Mapping[str, str] = field(default_factory=dict)
    """For its prompt's variables."""
    notes: Sequence[str] = ()
    """Blocks for its system prompt."""


def no_briefing(state: Any, run: RunContext) -> Briefing:
    """The conversation says everything."""
    return Briefing()


@dataclass(frozen=True, slots=True)
class AnswerNodes:
    """Answers the caller. A node that returns no Command ends the turn, so a plain turn is one super-step."""

    name: str
    tools_name: str
    speaker: Speaker
    max_steps: int
    briefing: Callable[[Any, RunContext], Briefing] = no_briefing

    async def answer(
        self, state: ConversationState, config: RunnableConfig, runtime: Runtime[Any]
    ) -> dict[str, Any] | Command[str]:
        """Asks the model; its reply ends the turn unless it calls server-side tools."""
        run: RunContext = runtime.context
        calls = calls_made(state, run) + 1
        briefing = self.briefing(state, run)
        ask = Ask(
            state["messages"],
            Audience.CALLER,
            offers_tools=calls < self.max_steps,
            values=briefing.values,
            notes=briefing.notes,
        )
        message = (await speak(self.speaker, ask, run, step_of(config))).message
        server_calls, _ = split_calls(message, run)
        if not server_calls:
            return {"messages": [message]}
        refuse_calls_past_limit(calls, self.max_steps)
        return Command(update={"messages": [message], "steps": count_calls(run, calls)}, goto=self.tools_name)

    async def tools(
        self, state: ConversationState, config: RunnableConfig, runtime: Runtime[Any]
    ) -> dict[str, Any] | Command[str]:
        """Invokes the server-side calls; the turn ends when the caller has calls of its own to answer."""
        run: RunContext = runtime.context
        message = last_reply(state["messages"])
        update = {"messages": await invoke(self.speaker, message, run, step_of(config))}
        _, caller_calls = split_calls(message, run)
        return update if caller_calls else Command(update=update, goto=self.name)

    def add_to(self, graph: Graph) -> None:
        """Adds both nodes to a graph."""
        add_node(graph, self.name, self.answer, leads_to=(self.tools_name, END))
        add_node(graph, self.tools_name, self.tools, leads_to=(self.name, END))
