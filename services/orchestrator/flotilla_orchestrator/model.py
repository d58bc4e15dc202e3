"""The orchestrator's plain values: runs, threads, messages, events' facts and outbox entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Literal, TypedDict
from uuid import UUID

Json = Mapping[str, Any]
"""A JSON object that is not ours to type."""


class RunStatus(IntEnum):
    """Where a run stands; the numbers are the column's."""

    QUEUED = 0
    RUNNING = 1
    WAITING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5
    TIMED_OUT = 6
    DEAD_LETTERED = 7

    @property
    def is_terminal(self) -> bool:
        """Whether nothing happens to the run any more by itself."""
        return self >= RunStatus.SUCCEEDED


class ErrorClass(IntEnum):
    """What may be done about an error; the numbers are the column's."""

    RETRYABLE = 1
    PERMANENT = 2
    BUDGET = 3
    POLICY = 4


class FinishReason(IntEnum):
    """Why an answer ended; the numbers are the column's."""

    STOP = 1
    LENGTH = 2
    TOOL_CALLS = 3
    CONTENT_FILTER = 4


class ToolCallDict(TypedDict):
    """A tool call as it stands in a graph's state. `args_json` is exactly what the model wrote."""

    id: str
    name: str
    args_json: str


class MessageDict(TypedDict, total=False):
    """A message as it stands in a graph's state: a plain dict, because objects cost more to store and to copy.

    `type` is LangChain's: system, human, ai or tool.
    """

    id: str
    type: Literal["system", "human", "ai", "tool"]
    content: str
    tool_calls: list[ToolCallDict]
    tool_call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Tokens and money of one or several calls to one model."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run ended without an answer."""

    error_class: ErrorClass
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class CallerTool:
    """A tool that the caller executes."""

    name: str
    description: str
    parameters: Json


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the caller asks of the model; None leaves the agent's own setting."""

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    response_format: Json | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    caller_tools: tuple[CallerTool, ...] = ()
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run as it is accepted: what one `accept` writes."""

    run_id: UUID
    tenant_id: UUID
    user_id: UUID
    remembers: bool
    """Whether the run reads and writes the user's long-term memory."""
    thread_id: UUID
    create_thread: bool
    thread_ttl_s: float | None
    """Set for ephemeral threads; the thread expires this long after its last run."""
    agent: str
    release: str
    """The release's content hash, 64 hex digits."""
    wire: str
    idempotency_key: str | None
    body_hash: bytes
    input: bytes
    """The serialised StartRunRequest: what a take-over starts from."""
    time_limit_s: float
    metadata: Json
    traceparent: str | None
    accepted_event: bytes
    """The serialised RunEvent with sequence 1."""


@dataclass(frozen=True, slots=True)
class OwnedRun:
    """A run that this process owns since an accept or a claim."""

    run_id: UUID
    tenant_id: UUID
    user_id: UUID
    remembers: bool
    thread_id: UUID
    agent: str
    release: str
    epoch: int
    attempt: int
    input: bytes
    last_sequence: int
    remaining_s: float
    """Until its time limit when it was taken, by the database's clock."""
    traceparent: str | None
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is read."""

    run_id: UUID
    tenant_id: UUID
    user_id: UUID
    thread_id: UUID
    agent: str
    release: str
    status: RunStatus
    attempt: int
    wire: str
    created_at: datetime
    finished_at: datetime | None
    metadata: Json
    finish_reason: FinishReason | None = None
    answer: MessageDict | None = None
    usage: Sequence[ModelUsage] = ()
    error: RunError | None = None
    body_hash: bytes = b""


class ThreadStatus(IntEnum):
    """Where a thread stands, as its last run left it; the numbers are the proto's."""

    IDLE = 1
    BUSY = 2
    INTERRUPTED = 3
    ERROR = 4


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation that keeps its state between runs."""

    thread_id: UUID
    tenant_id: UUID
    user_id: UUID
    status: ThreadStatus
    metadata: Json
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the event log; `payload` is a serialised RunEvent without its sequence."""

    run_id: UUID
    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One checkpoint as it is stored, in one row."""

    thread_id: UUID
    namespace: str
    checkpoint_id: UUID
    parent_id: UUID | None
    run_id: UUID
    state: bytes
    """The serialised checkpoint: channel values, versions, versions seen."""
    metadata: bytes
    """JSON, without the channel values."""
    next_nodes: Sequence[str] = ()
    """The nodes that run next; empty at the graph's end."""


@dataclass(frozen=True, slots=True)
class PendingWrites:
    """One task's writes within a super-step, as LangGraph's saver gives them."""

    thread_id: UUID
    namespace: str
    checkpoint_id: UUID
    run_id: UUID
    task_id: str
    task_path: str
    writes: Sequence[tuple[int, str, bytes]]
    """Index, channel, serialised value."""


@dataclass(frozen=True, slots=True)
class PendingInterrupt:
    """A question to a person that was not answered yet."""

    id: str
    value_json: bytes


@dataclass(frozen=True, slots=True)
class ThreadState:
    """A checkpoint as LangGraph's wire shows it."""

    thread_id: UUID
    checkpoint_id: UUID
    namespace: str
    parent_id: UUID | None
    values_json: bytes
    """The state's channels; messages have LangChain's JSON shape."""
    next_nodes: Sequence[str]
    metadata_json: bytes
    created_at: datetime
    interrupts: Sequence[PendingInterrupt] = ()


class OutboxKind(IntEnum):
    """Whom an outbox entry is for; the numbers are the column's."""

    COMMIT_TURN = 1
    OBSERVE = 2


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A message to a leaf that is sent at least once after its run's transaction."""

    kind: OutboxKind
    payload: bytes
    """The serialised request."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """Everything that is written when a run ends, in one transaction."""

    run_id: UUID
    epoch: int
    status: RunStatus
    terminal_event: StoredEvent
    events: Sequence[StoredEvent] = ()
    """The run's last events before the terminal one, as far as no append wrote them."""
    finish_reason: FinishReason | None = None
    answer: MessageDict | None = None
    error: RunError | None = None
    usage: Sequence[ModelUsage] = ()
    checkpoints: Sequence[CheckpointRow] = ()
    writes: Sequence[PendingWrites] = ()
    """Pending writes that no append wrote: the interrupts of a run that waits."""
    outbox: Sequence[OutboxEntry] = ()
