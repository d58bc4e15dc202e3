"""One tenant's checkpoints on Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from flotilla_common.lane import fetch
from flotilla_common.postgres import Pool, map_database_errors

from flotilla_orchestrator.model import CheckpointRow, PendingWrites
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery, StoredCheckpoint, StoredWrite
from flotilla_orchestrator.stores.encoding import storable_json
from flotilla_orchestrator.stores.statements import checkpoints as statements


class PostgresCheckpointStore:
    """Implements CheckpointStore."""

    def __init__(self, pool: Pool, tenant_id: UUID) -> None:
        """Takes a pool that sees every tenant; each statement names the one."""
        self._pool = pool
        self._tenant_id = tenant_id

    async def find(self, query: CheckpointQuery) -> Sequence[StoredCheckpoint]:
        """Returns checkpoints, newest first."""
        asked = {name: value for name, value in asdict(query).items() if value is not None}
        if query.metadata is not None:
            asked["metadata"] = storable_json(query.metadata)
        conditions = "".join(part for name, part in statements.CONDITIONS.items() if name in asked)
        statement = statements.FIND.format(conditions=conditions)
        return [_stored_from(row) for row in await self._execute(statement, {"limit": None, **asked})]

    async def put(self, row: CheckpointRow) -> None:
        """Stores a checkpoint."""
        await self._execute(statements.PUT, statements.row_arrays([row]))

    async def put_writes(self, writes: PendingWrites) -> None:
        """Stores pending writes."""
        await self._execute(statements.PUT_WRITES, statements.write_arrays([writes]))

    async def delete_threads(self, thread_ids: Sequence[UUID]) -> None:
        """Deletes all checkpoints and writes of threads."""
        await self._execute(statements.DELETE_THREADS, {"thread_ids": list(thread_ids)})

    async def delete_runs(self, run_ids: Sequence[UUID]) -> None:
        """Deletes the checkpoints that runs made, with their writes."""
        await self._execute(statements.DELETE_RUNS, {"run_ids": list(run_ids)})

    async def copy_thread(self, source: UUID, target: UUID) -> None:
        """Copies all checkpoints and writes from one thread to another."""
        await self._execute(statements.COPY_THREAD, {"source": source, "target": target})

    async def prune(self, thread_ids: Sequence[UUID]) -> None:
        """Deletes all but the latest checkpoint of each namespace."""
        await self._execute(statements.PRUNE, {"thread_ids": list(thread_ids)})

    async def _execute(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with map_database_errors():
            async with self._pool.connection() as connection:
                return await fetch(connection, statement, {**parameters, "tenant_id": self._tenant_id})


def _stored_from(row: Sequence[Any]) -> StoredCheckpoint:
    *columns, next_nodes, task_ids, channels, values = row
    thread_id, namespace, checkpoint_id, parent_id, run_id, state, metadata = columns
    found = CheckpointRow(
        thread_id=thread_id,
        namespace=namespace,
        checkpoint_id=checkpoint_id,
        parent_id=parent_id,
        run_id=run_id,
        state=state,
        metadata=metadata,
        next_nodes=tuple(next_nodes),
    )
    return StoredCheckpoint(found, tuple(map(StoredWrite, task_ids or (), channels or (), values or ())))
