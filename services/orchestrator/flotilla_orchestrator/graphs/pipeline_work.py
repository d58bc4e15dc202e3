"""A pipeline's work in progress: what its steps gave so far."""

from __future__ import annotations

from typing import TypedDict

from flotilla_orchestrator.graphs.answer import Briefing
from flotilla_orchestrator.graphs.context import RunContext
from flotilla_orchestrator.graphs.messages import ConversationState, continues_turn
from flotilla_orchestrator.graphs.prompt import fence
from flotilla_orchestrator.model import MessageDict


class Draft(TypedDict):
    """A reply that waits for its review, or was refused by it."""

    message: MessageDict
    finish_reason: int
    comment: str
    """Why it was refused; empty before the review."""


class Work(TypedDict):
    """The turn's work in progress; it never enters the conversation."""

    run: str
    results: dict[str, str]
    """What the finished steps gave, by their names."""
    messages: list[MessageDict]
    """The tool loop of the step at work."""
    draft: Draft | None


class PipelineState(ConversationState, total=False):
    """The conversation, and the turn's work."""

    work: Work


def work_of(state: PipelineState, run: RunContext) -> Work:
    """Returns the turn's work: a new run starts afresh, unless it brings the results of the caller's own tools."""
    work = state.get("work")
    if work is not None and work["run"] == str(run.run_id):
        return work
    results = work["results"] if work is not None and continues_turn(state["messages"]) else {}
    return Work(run=str(run.run_id), results=results, messages=[], draft=None)


def result_blocks(work: Work) -> dict[str, str]:
    """Returns the finished steps' results for prompts: a word as it is, anything longer fenced."""
    return {
        name: result if result.replace("_", "").replace("-", "").isalnum() else fence(name, result)
        for name, result in work["results"].items()
    }


def brief_answer(state: PipelineState, run: RunContext) -> Briefing:
    """Returns what the answering step is told: the results so far, and why its draft was refused."""
    work = work_of(state, run)
    draft = work["draft"]
    if draft is None:
        return Briefing(values=result_blocks(work))
    notes = [
        "Your draft was reviewed and has to be written anew. The person has seen nothing of it.",
        fence("draft", draft["message"].get("content", "")),
        fence("review", draft["comment"]),
    ]
    return Briefing(values=result_blocks(work), notes=notes)
