"""The durable run path as the engine sees it: accept, append, finish, claim, beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from flotilla_orchestrator.model import (
    CheckpointRow,
    FinishedRun,
    NewRun,
    OutboxKind,
    OwnedRun,
    PendingWrites,
    Run,
    StoredEvent,
)

__all__ = ["DueOutboxEntry", "EventReader", "PendingWrites", "RunAppend", "RunStore"]


PAGE_BYTES = 4_000_000
"""Of the events that are read together."""


def is_full(page: Sequence[StoredEvent], *, limit: int) -> bool:
    """Whether a page that was read ends before the log does, as far as it shows."""
    return len(page) >= limit or sum(len(event.payload) for event in page) >= PAGE_BYTES


@dataclass(frozen=True, slots=True)
class RunAppend:
    """What one flush writes for one run: all of it or, when the epoch is stale, nothing."""

    run_id: UUID
    epoch: int
    events: Sequence[StoredEvent] = ()
    checkpoints: Sequence[CheckpointRow] = ()
    writes: Sequence[PendingWrites] = ()


@dataclass(frozen=True, slots=True)
class DueOutboxEntry:
    """An outbox entry that is to be sent now; locked for its sender until `due_at` is past again."""

    id: int
    tenant_id: UUID
    user_id: UUID
    run_id: UUID
    kind: OutboxKind
    payload: bytes
    attempts: int
    traceparent: str | None
    """Of the request that began the run, so that what is sent for it belongs to the same trace."""


class RunStore(Protocol):
    """Writes of the run path. Each batch is one transaction; every write is fenced by (run, epoch) under a row lock."""

    async def accept(self, runs: Sequence[NewRun], *, owner: UUID) -> set[UUID]:
        """Stores runs as running and owned (epoch 1), their threads and first events; returns the accepted run ids.

        A run that is not returned met a twin (run id or idempotency key), a busy thread or a thread that is not there
        or not the user's; `explain_refusal` says which.
        """
        ...

    async def explain_refusal(self, run: NewRun) -> Run:
        """Returns the twin of a run that was not accepted.

        Raises NotFoundError (thread), AbortedError (reason thread_busy) or FailedPreconditionError (reason
        idempotency_key_reused, when the twin's body hash differs).
        """
        ...

    async def append(self, batch: Sequence[RunAppend]) -> set[UUID]:
        """Stores events, checkpoints and pending writes of many runs; returns the runs that are still owned."""
        ...

    async def finish(self, batch: Sequence[FinishedRun], *, owner: UUID) -> set[UUID]:
        """Ends runs: status, last checkpoints, usage, outbox, last events, lease gone; returns the runs that ended."""
        ...

    async def release(self, runs: Mapping[UUID, int], *, owner: UUID) -> None:
        """Hands owned runs (run id → epoch) back: their leases end now and the hand-over spends no attempt."""
        ...

    async def next_claim_s(self) -> float | None:
        """Returns the seconds until the next claim finds something, not above 0 for at once; None without any run."""
        ...

    async def claim(self, *, owner: UUID, limit: int) -> Sequence[OwnedRun]:
        """Takes over up to `limit` runs whose lease has ended: epoch and attempt rise.

        Beside them it takes what is to be cancelled, for which no limit counts and no attempt is spent: runs whose
        owner did not heed the request for 1.5 s, whatever their lease, and runs that wait for a person.
        """
        ...

    async def beat(self, runs: Mapping[UUID, int], *, owner: UUID) -> Mapping[UUID, bool]:
        """Extends leases (run id → epoch); returns the runs that are still owned, each with whether a cancel was asked.

        A run that is merely locked by somebody else at this moment may be missing once.
        """
        ...

    async def request_cancel(self, run_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Run:
        """Stores the wish to cancel and returns the run. Raises NotFoundError."""
        ...

    async def cancel_requests(self, runs: Sequence[UUID]) -> set[UUID]:
        """Returns those of the runs whose cancellation was asked for."""
        ...

    async def due_outbox(self, *, limit: int, lock_s: float) -> Sequence[DueOutboxEntry]:
        """Takes entries that are due; each comes again after `lock_s` unless it is settled."""
        ...

    async def settle_outbox(self, sent: Sequence[int], *, retry_in_s: Mapping[int, float]) -> None:
        """Deletes sent entries and puts the failed ones off."""
        ...


class EventReader(Protocol):
    """Reads of the event log."""

    async def read(self, run_id: UUID, *, after_sequence: int, limit: int = 500) -> Sequence[StoredEvent]:
        """Returns a page of the events after a sequence number, in order; `is_full` tells whether there may be more.

        A page has at most `limit` events, and ends with the first one that fills PAGE_BYTES.
        """
        ...

    async def read_many(self, positions: Mapping[UUID, int]) -> Sequence[StoredEvent]:
        """Returns the next events of many runs after each one's position, in one query, ordered by run and sequence."""
        ...
