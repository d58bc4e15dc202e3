"""What all in-memory stores of one orchestrator share: its tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flotilla_orchestrator.model import CheckpointRow, FinishedRun, Json, NewRun, Run, RunStatus, Thread, ThreadStatus
from flotilla_orchestrator.stores.run_store import DueOutboxEntry

WriteKey = tuple[UUID, str, UUID, str, str, int]
"""Thread, namespace, checkpoint, task path, task, index."""


def utc_now() -> datetime:
    """Returns the time."""
    return datetime.now(UTC)


@dataclass(slots=True)
class RunRecord:
    """A row of the table `runs`."""

    new: NewRun
    created_at: datetime
    idempotency_key: str | None
    status: RunStatus = RunStatus.RUNNING
    epoch: int = 1
    attempt: int = 1
    cancel_at: datetime | None = None
    finished_at: datetime | None = None
    end: FinishedRun | None = None

    def to_run(self) -> Run:
        """Returns the run as it is read."""
        new, end = self.new, self.end
        return Run(
            run_id=new.run_id,
            tenant_id=new.tenant_id,
            user_id=new.user_id,
            thread_id=new.thread_id,
            agent=new.agent,
            release=new.release,
            status=self.status,
            attempt=self.attempt,
            wire=new.wire,
            created_at=self.created_at,
            finished_at=self.finished_at,
            metadata=new.metadata,
            finish_reason=end.finish_reason if end else None,
            answer=end.answer if end else None,
            usage=tuple(end.usage) if end else (),
            error=end.error if end else None,
            body_hash=new.body_hash,
        )


@dataclass(slots=True)
class LeaseRecord:
    """A row of the table `leases`."""

    owner: UUID
    epoch: int
    expires_at: datetime
    claimed_at: datetime
    is_handed_back: bool = False


@dataclass(slots=True)
class ThreadRecord:
    """A row of the table `threads`."""

    thread_id: UUID
    tenant_id: UUID
    user_id: UUID
    metadata: Json
    ttl: timedelta | None
    is_ephemeral: bool
    created_at: datetime
    updated_at: datetime

    def to_thread(self, status: ThreadStatus) -> Thread:
        """Returns the thread as it is read."""
        return Thread(
            thread_id=self.thread_id,
            tenant_id=self.tenant_id,
            user_id=self.user_id,
            status=status,
            metadata=self.metadata,
            created_at=self.created_at,
            updated_at=self.updated_at,
            expires_at=None if self.ttl is None else self.updated_at + self.ttl,
        )


@dataclass(slots=True)
class InMemoryState:
    """The tables."""

    now: Callable[[], datetime] = utc_now
    threads: dict[UUID, ThreadRecord] = field(default_factory=dict)
    runs: dict[UUID, RunRecord] = field(default_factory=dict)
    leases: dict[UUID, LeaseRecord] = field(default_factory=dict)
    events: dict[UUID, dict[int, tuple[int, bytes]]] = field(default_factory=dict)
    """Epoch and payload by run and sequence."""
    checkpoints: dict[tuple[UUID, str, UUID], CheckpointRow] = field(default_factory=dict)
    """By thread, namespace, checkpoint."""
    writes: dict[WriteKey, tuple[str, bytes]] = field(default_factory=dict)
    """Channel and value."""
    tenants: dict[UUID, UUID] = field(default_factory=dict)
    """The tenant of each thread that has checkpoints."""
    outbox: dict[int, tuple[DueOutboxEntry, datetime]] = field(default_factory=dict)
    """Entry and when it is due."""

    def drop_thread(self, thread_id: UUID) -> None:
        """Deletes a thread with its runs, checkpoints and events."""
        self.threads.pop(thread_id, None)
        for run_id in [run_id for run_id, run in self.runs.items() if run.new.thread_id == thread_id]:
            del self.runs[run_id]
            self.events.pop(run_id, None)
        self.drop_checkpoints(thread_id)

    def drop_checkpoints(self, thread_id: UUID) -> None:
        """Deletes a thread's checkpoints and writes."""
        self.checkpoints = {key: row for key, row in self.checkpoints.items() if key[0] != thread_id}
        self.writes = {key: write for key, write in self.writes.items() if key[0] != thread_id}
