"""An answer under review: the draft is held back, then sent as it is or written anew; the caller sees one reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END
from langgraph.runtime import Runtime
from langgraph.types import Command

from flotilla_orchestrator.graphs.answer import AnswerNodes
from flotilla_orchestrator.graphs.context import ModelReply, RunContext
from flotilla_orchestrator.graphs.messages import calls_made, count_calls, split_calls, step_of
from flotilla_orchestrator.graphs.pipeline_work import Draft, PipelineState, result_blocks, work_of
from flotilla_orchestrator.graphs.speaker import Ask, Audience, Speaker, speak
from flotilla_orchestrator.graphs.structured import json_format, object_schema, one_of, read_object
from flotilla_orchestrator.graphs.wiring import Graph, add_node
from flotilla_orchestrator.model import FinishReason

CALLS_AFTER_DRAFT = 2
"""The review, and the reply that is written anew when the review refuses."""

_APPROVE, _REVISE = "approve", "revise"
_VERDICT = json_format(
    "review",
    object_schema(
        {
            "verdict": one_of([_APPROVE, _REVISE]),
            "comment": {"type": "string", "description": "What must change; empty when approved."},
        }
    ),
)


@dataclass(frozen=True, slots=True)
class ReviewedAnswer:
    """The answering step with its reviewer."""

    plain: AnswerNodes
    """How the answer is written when nothing stands between it and the caller: the second time."""
    name: str
    """The reviewing step's."""
    reviewer: Speaker

    async def answer(
        self, state: PipelineState, config: RunnableConfig, runtime: Runtime[Any]
    ) -> dict[str, Any] | Command[str]:
        """Writes a draft; after a refusal, the answer. A draft that calls the caller's tools is sent at once."""
        run: RunContext = runtime.context
        work = work_of(state, run)
        if work["draft"] is not None:
            return await self.plain.answer(state, config, runtime)
        calls = calls_made(state, run) + 1
        ask = Ask(
            state["messages"],
            Audience.REVIEWER,
            offers_tools=calls < self.plain.max_steps - CALLS_AFTER_DRAFT,
            values=result_blocks(work),
        )
        reply = await speak(self.plain.speaker, ask, run, step_of(config))
        server_calls, caller_calls = split_calls(reply.message, run)
        update: dict[str, Any] = {"steps": count_calls(run, calls)}
        if caller_calls:
            update["messages"] = [await run.publish(step_of(config), reply)]
            return Command(update=update, goto=self.plain.tools_name) if server_calls else update
        if server_calls and ask.offers_tools:
            return Command(update={**update, "messages": [reply.message]}, goto=self.plain.tools_name)
        draft = Draft(message=reply.message, finish_reason=reply.finish_reason, comment="")
        results = {**work["results"], self.plain.name: reply.message.get("content", "")}
        return Command(update={**update, "work": {**work, "draft": draft, "results": results}}, goto=self.name)

    async def review(
        self, state: PipelineState, config: RunnableConfig, runtime: Runtime[Any]
    ) -> dict[str, Any] | Command[str]:
        """Sends the draft as the answer, or has it written anew."""
        run: RunContext = runtime.context
        work = work_of(state, run)
        draft = work["draft"]
        if draft is None:
            raise AssertionError("a review follows a draft")
        ask = Ask(state["messages"], Audience.GRAPH, values=result_blocks(work), response_format=_VERDICT)
        verdict = read_object((await speak(self.reviewer, ask, run, step_of(config))).message.get("content", ""))
        if verdict.get("verdict") != _REVISE:
            reply = ModelReply(draft["message"], FinishReason(draft["finish_reason"]))
            return {"messages": [await run.publish(step_of(config), reply)], "work": {**work, "draft": None}}
        refused = Draft(**{**draft, "comment": str(verdict.get("comment", ""))})
        steps = count_calls(run, calls_made(state, run) + 1)
        return Command(update={"work": {**work, "draft": refused}, "steps": steps}, goto=self.plain.name)

    def add_to(self, graph: Graph) -> None:
        """Adds the answering step, its tools and the review to a graph."""
        answer = self.plain
        add_node(graph, answer.name, self.answer, leads_to=(answer.tools_name, self.name, END))
        add_node(graph, answer.tools_name, answer.tools, leads_to=(answer.name, END))
        add_node(graph, self.name, self.review, leads_to=(answer.name, END))
