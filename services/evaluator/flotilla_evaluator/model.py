"""What the evaluator speaks of: observed runs, their messages, scores and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    HUMAN = "human"
    ASSISTANT = "assistant"
    TOOL = "tool"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to have a tool invoked."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a run."""

    role: Role
    content: str
    id: str = ""
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money spent on one model."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int


@dataclass(frozen=True, slots=True)
class Observation:
    """A finished run as the orchestrator saw it."""

    run_id: UUID
    agent: str
    release: str
    messages: Sequence[Message]
    """The new messages of the run in order: input, tool calls, tool results and the answer."""
    usage: Sequence[Usage]
    duration_s: float
    finished_at: datetime
    failed_tool_calls: int = 0

    @property
    def answer(self) -> str:
        """The text that the run ended with; empty when it ended with anything else."""
        last = self.messages[-1] if self.messages else None
        return last.content.strip() if last is not None and last.role is Role.ASSISTANT else ""

    @property
    def characters(self) -> int:
        """The length of all that was said, the tools' arguments included."""
        said = sum(len(message.content) for message in self.messages)
        return said + sum(len(call.arguments) for message in self.messages for call in message.tool_calls)

    @property
    def tool_results(self) -> list[Message]:
        """What the tools returned, failures included."""
        return [message for message in self.messages if message.role is Role.TOOL]


@dataclass(frozen=True, slots=True)
class Score:
    """A scorer's number for one run."""

    key: str
    value: float
    """From 0 to 1, higher is better."""
    explanation: str
    """One sentence for people."""


@dataclass(frozen=True, slots=True)
class ScoredObservation:
    """An observed run with its scores, ordered by key."""

    observation: Observation
    scores: Sequence[Score]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose runs may be seen: one person's, or with `user_id` None the tenant's."""

    tenant_id: UUID
    user_id: UUID | None


class PagePosition(NamedTuple):
    """The last run of a page; the next page is older than it."""

    finished_at: datetime
    run_id: UUID


@dataclass(frozen=True, slots=True)
class ObservationPage:
    """Observed runs, newest first, and where the next page starts."""

    observations: Sequence[ScoredObservation] = ()
    next: PagePosition | None = None
