"""Checkpoints outside the run path: what is read, edited, copied and deleted by thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from flotilla_orchestrator.model import CheckpointRow, Json, PendingWrites


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """One pending write, as it is read."""

    task_id: str
    channel: str
    value: bytes


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint with the pending writes of its unfinished super-step, ordered by task path, task and index."""

    row: CheckpointRow
    writes: Sequence[StoredWrite] = ()


@dataclass(frozen=True, slots=True)
class CheckpointQuery:
    """Which checkpoints are asked for; None means any."""

    thread_id: UUID | None = None
    namespace: str | None = None
    checkpoint_id: UUID | None = None
    before: UUID | None = None
    metadata: Json | None = None
    """A checkpoint matches when its metadata contains this."""
    limit: int | None = None


class CheckpointStore(Protocol):
    """Keeps one tenant's checkpoints. Nothing here is fenced: a run's own writes go through RunStore."""

    async def find(self, query: CheckpointQuery) -> Sequence[StoredCheckpoint]:
        """Returns checkpoints, newest first."""
        ...

    async def put(self, row: CheckpointRow) -> None:
        """Stores a checkpoint; the same again replaces it."""
        ...

    async def put_writes(self, writes: PendingWrites) -> None:
        """Stores pending writes; of the same again, those with a negative index are replaced and the others stay."""
        ...

    async def delete_threads(self, thread_ids: Sequence[UUID]) -> None:
        """Deletes all checkpoints and writes of threads."""
        ...

    async def delete_runs(self, run_ids: Sequence[UUID]) -> None:
        """Deletes the checkpoints that runs made, with their writes."""
        ...

    async def copy_thread(self, source: UUID, target: UUID) -> None:
        """Copies all checkpoints and writes from one thread to another."""
        ...

    async def prune(self, thread_ids: Sequence[UUID]) -> None:
        """Deletes all but the latest checkpoint of each namespace."""
        ...
