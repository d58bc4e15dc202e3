"""One tenant's checkpoints in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from flotilla_orchestrator.model import CheckpointRow, PendingWrites
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery, StoredCheckpoint, StoredWrite
from flotilla_orchestrator.stores.in_memory.state import InMemoryState


class InMemoryCheckpointStore:
    """Implements CheckpointStore."""

    def __init__(self, state: InMemoryState, tenant_id: UUID) -> None:
        self._state = state
        self._tenant_id = tenant_id

    async def find(self, query: CheckpointQuery) -> Sequence[StoredCheckpoint]:
        """Returns checkpoints, newest first."""
        rows = [row for row in self._state.checkpoints.values() if self._is_mine(row.thread_id) and _fits(row, query)]
        rows.sort(key=lambda row: row.checkpoint_id, reverse=True)
        return [StoredCheckpoint(row, self._writes_of(row)) for row in rows[: query.limit]]

    async def put(self, row: CheckpointRow) -> None:
        """Stores a checkpoint."""
        self._state.tenants.setdefault(row.thread_id, self._tenant_id)
        put_checkpoint(self._state, row)

    async def put_writes(self, writes: PendingWrites) -> None:
        """Stores pending writes."""
        put_writes(self._state, writes)

    async def delete_threads(self, thread_ids: Sequence[UUID]) -> None:
        """Deletes all checkpoints and writes of threads."""
        for thread_id in filter(self._is_mine, thread_ids):
            self._state.drop_checkpoints(thread_id)

    async def delete_runs(self, run_ids: Sequence[UUID]) -> None:
        """Deletes the checkpoints that runs made, with their writes."""
        self._delete([row for row in self._state.checkpoints.values() if row.run_id in run_ids])

    async def copy_thread(self, source: UUID, target: UUID) -> None:
        """Copies all checkpoints and writes from one thread to another."""
        if not self._is_mine(source):
            return
        for row in [row for row in self._state.checkpoints.values() if row.thread_id == source]:
            await self.put(replace(row, thread_id=target))
        copies = {(target, *key[1:]): write for key, write in self._state.writes.items() if key[0] == source}
        self._state.writes.update(copies)

    async def prune(self, thread_ids: Sequence[UUID]) -> None:
        """Deletes all but the latest checkpoint of each namespace."""
        latest: dict[tuple[UUID, str], UUID] = {}
        for thread_id, namespace, checkpoint_id in sorted(self._state.checkpoints):
            latest[thread_id, namespace] = checkpoint_id
        self._delete(
            [
                row
                for row in self._state.checkpoints.values()
                if row.thread_id in thread_ids and latest[row.thread_id, row.namespace] != row.checkpoint_id
            ]
        )

    def _delete(self, rows: Sequence[CheckpointRow]) -> None:
        gone = {(row.thread_id, row.namespace, row.checkpoint_id) for row in rows if self._is_mine(row.thread_id)}
        state = self._state
        state.checkpoints = {key: row for key, row in state.checkpoints.items() if key not in gone}
        state.writes = {key: write for key, write in state.writes.items() if key[:3] not in gone}

    def _writes_of(self, row: CheckpointRow) -> list[StoredWrite]:
        mine = (row.thread_id, row.namespace, row.checkpoint_id)
        found = sorted((key, write) for key, write in self._state.writes.items() if key[:3] == mine)
        return [StoredWrite(key[4], channel, value) for key, (channel, value) in found]

    def _is_mine(self, thread_id: UUID) -> bool:
        return self._state.tenants.get(thread_id) == self._tenant_id


def put_checkpoint(state: InMemoryState, row: CheckpointRow) -> None:
    """Stores a checkpoint."""
    state.checkpoints[row.thread_id, row.namespace, row.checkpoint_id] = row


def put_writes(state: InMemoryState, pending: PendingWrites) -> None:
    """Stores a task's writes."""
    for index, channel, value in pending.writes:
        key = (
            pending.thread_id,
            pending.namespace,
            pending.checkpoint_id,
            pending.task_path,
            pending.task_id,
            index,
        )
        if index < 0 or key not in state.writes:
            state.writes[key] = (channel, value)


def _fits(row: CheckpointRow, query: CheckpointQuery) -> bool:
    return (
        query.thread_id in (None, row.thread_id)
        and query.namespace in (None, row.namespace)
        and query.checkpoint_id in (None, row.checkpoint_id)
        and (query.before is None or row.checkpoint_id < query.before)
        and (query.metadata is None or contains(orjson.loads(row.metadata), query.metadata))
    )


def contains(whole: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Tells whether an object contains another, as `jsonb`'s @> does for objects of plain values."""
    return all(
        name in whole
        and (contains(whole[name], value) if isinstance(value, Mapping) and isinstance(whole[name], Mapping) else
             whole[name] == value)
        for name, value in part.items()
    )  # fmt: skip
