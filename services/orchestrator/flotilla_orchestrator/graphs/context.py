"""What a graph's node may do while its run is alive; the engine in runs/ implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from flotilla_orchestrator.model import FinishReason, MessageDict, RunOptions


@dataclass(frozen=True, slots=True)
class Step:
    """Names one node's execution within a run, the same after a take-over.

    Message ids and tools' idempotency keys derive from it, so that a repeated step is recognised as the same.
    """

    node: str
    namespace: str
    number: int
    """LangGraph's step number (`metadata.langgraph_step`)."""


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """What a node asks of a model."""

    messages: Sequence[MessageDict]
    """System prompt first, then the whole history: the model layer trims it to the window of the route it takes."""
    routes: Sequence[str]
    """Route names in the order of fallback."""
    tools: Sequence[Mapping[str, Any]] = ()
    """OpenAI's tool definitions; the caller's tools among them when `is_answer` or `is_draft`."""
    response_format: Mapping[str, Any] | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    is_answer: bool = False
    """The reply goes to the caller: its tokens are marked so and the caller's options apply to it."""
    is_draft: bool = False
    """The reply may become the answer by `publish`: the caller's options apply, its tokens are an inner step's."""
    speaker: str = ""
    """The message's `name`; empty outside multi-agent graphs."""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A whole reply, as it is added to the thread."""

    message: MessageDict
    finish_reason: FinishReason


class RunContext(Protocol):
    """A run as its nodes see it; LangGraph passes it as the runtime's context."""

    @property
    def run_id(self) -> UUID:
        """A UUID version 7."""
        ...

    @property
    def options(self) -> RunOptions:
        """What the caller asks of the model."""
        ...

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """OpenAI's definitions of the server-side tools that the release permits, memory's among them."""
        ...

    async def recall(self) -> str:
        """Waits for what long-term memory gives for this question, which was asked when the run began.

        One text without a fence; empty when there is nothing.
        """
        ...

    async def call_model(self, step: Step, turn: ModelTurn) -> ModelReply:
        """Streams a reply into the event log and returns it whole.

        Tool call ids are minted, usage is booked, and after a take-over the reply is compared with what was streamed.
        Raises UnavailableError when the routes are spent, CancelledError after a cancel.
        """
        ...

    async def publish(self, step: Step, reply: ModelReply) -> MessageDict:
        """Sends a draft as the answer, without a model call: one token event and one message event, both `is_answer`.

        The message gets an id of its own from `step`, because the draft's tokens were sent under the draft's id.
        """
        ...

    async def invoke_tools(self, step: Step, calls: MessageDict) -> list[MessageDict]:
        """Invokes an assistant message's server-side calls in one batch; returns a tool message for each, in order.

        The caller's own tools are left out. A failing tool is a message that says so.
        """
        ...

    def record_input(self, messages: Sequence[MessageDict]) -> None:
        """Writes input messages to the event log, once."""
        ...
