"""The pipeline pattern: steps in a fixed order, the last of which answers; a review may hold the answer back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START
from langgraph.runtime import Runtime
from langgraph.types import Command

from flotilla_orchestrator.graphs.answer import AnswerNodes
from flotilla_orchestrator.graphs.context import RunContext
from flotilla_orchestrator.graphs.invocation import invoke
from flotilla_orchestrator.graphs.messages import (
    calls_made,
    continues_turn,
    count_calls,
    last_reply,
    split_calls,
    step_of,
)
from flotilla_orchestrator.graphs.pipeline_work import PipelineState, brief_answer, result_blocks, work_of
from flotilla_orchestrator.graphs.review import CALLS_AFTER_DRAFT, ReviewedAnswer
from flotilla_orchestrator.graphs.speaker import Ask, Audience, Speaker, speak
from flotilla_orchestrator.graphs.structured import json_format, object_schema, one_of, read_label, read_valid
from flotilla_orchestrator.graphs.wiring import Graph, add_node, new_graph, tools_node
from flotilla_orchestrator.model import MessageDict


@dataclass(frozen=True, slots=True)
class InnerStep:
    """A step before the answer: its result is text, one of the labels, or an object."""

    name: str
    speaker: Speaker
    labels: Mapping[str, str] | None = None
    output_schema: Mapping[str, Any] | None = None

    @property
    def response_format(self) -> Mapping[str, Any] | None:
        """What the model is asked for."""
        if self.labels:
            return json_format(self.name, object_schema({"label": one_of(list(self.labels))}))
        return json_format(self.name, self.output_schema) if self.output_schema else None

    @property
    def notes(self) -> list[str]:
        """The labels and when they fit, for the system prompt."""
        if not self.labels:
            return []
        return ["The labels:\n" + "\n".join(f"- {label}: {meaning}" for label, meaning in self.labels.items())]

    def read(self, reply: str) -> str:
        """Returns the step's result. Raises FailedPreconditionError when an object does not fit its schema."""
        if self.labels:
            return read_label(reply, list(self.labels))
        return read_valid(reply, self.output_schema, step=self.name) if self.output_schema else reply


@dataclass(frozen=True, slots=True)
class InnerNodes:
    """An inner step's nodes; its tool calls stay in the turn's work."""

    step: InnerStep
    next_node: str
    tools_until: int
    """Tools are offered as long as the run's calls are fewer: the steps that follow need the rest."""

    async def work(self, state: PipelineState, config: RunnableConfig, runtime: Runtime[Any]) -> Command[str]:
        """Works on the step until the model replies without calling tools."""
        run: RunContext = runtime.context
        step, work = self.step, work_of(state, run)
        calls = calls_made(state, run) + 1
        ask = Ask(
            [*state["messages"], *work["messages"]],
            Audience.GRAPH,
            offers_tools=bool(step.speaker.tools) and calls < self.tools_until,
            values=result_blocks(work),
            notes=step.notes,
            response_format=step.response_format,
        )
        message = (await speak(step.speaker, ask, run, step_of(config))).message
        steps = count_calls(run, calls)
        server_calls, _ = split_calls(message, run)
        if server_calls and ask.offers_tools:
            kept: MessageDict = {**message, "tool_calls": server_calls}
            work = {**work, "messages": [*work["messages"], kept]}
            return Command(update={"work": work, "steps": steps}, goto=tools_node(step.name))
        results = {**work["results"], step.name: step.read(message.get("content", ""))}
        work = {**work, "messages": [], "results": results}
        return Command(update={"work": work, "steps": steps}, goto=self.next_node)

    async def tools(self, state: PipelineState, config: RunnableConfig, runtime: Runtime[Any]) -> Command[str]:
        """Invokes the step's calls."""
        run: RunContext = runtime.context
        work = work_of(state, run)
        results = await invoke(self.step.speaker, last_reply(work["messages"]), run, step_of(config))
        return Command(update={"work": {**work, "messages": [*work["messages"], *results]}}, goto=self.step.name)

    def add_to(self, graph: Graph) -> None:
        """Adds the step to a graph, and its tools when it has any."""
        name = self.step.name
        if not self.step.speaker.tools:
            add_node(graph, name, self.work, leads_to=(self.next_node,))
            return
        add_node(graph, name, self.work, leads_to=(tools_node(name), self.next_node))
        add_node(graph, tools_node(name), self.tools, leads_to=(name,))


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline's steps in their order."""

    inner: Sequence[InnerStep]
    answer_name: str
    answerer: Speaker
    max_steps: int
    review_name: str = ""
    reviewer: Speaker | None = None


def build_pipeline(plan: Plan) -> Graph:
    """Returns the pattern's graph, not compiled yet."""
    graph = new_graph(PipelineState)
    names = [step.name for step in plan.inner] + [plan.answer_name]
    calls_to_answer = 1 + (CALLS_AFTER_DRAFT if plan.reviewer else 0)
    for place, step in enumerate(plan.inner):
        calls_to_come = len(plan.inner) - place - 1 + calls_to_answer
        nodes = InnerNodes(step, names[place + 1], plan.max_steps - calls_to_come)
        nodes.add_to(graph)
    _add_answer(graph, plan)

    def entry(state: PipelineState) -> str:
        return plan.answer_name if continues_turn(state["messages"]) else names[0]

    graph.add_conditional_edges(START, entry, list(dict.fromkeys([names[0], plan.answer_name])))
    return graph


def _add_answer(graph: Graph, plan: Plan) -> None:
    answer = AnswerNodes(plan.answer_name, tools_node(plan.answer_name), plan.answerer, plan.max_steps, brief_answer)
    if plan.reviewer is None:
        answer.add_to(graph)
    else:
        ReviewedAnswer(answer, plan.review_name, plan.reviewer).add_to(graph)
