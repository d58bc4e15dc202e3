"""Reads of runs and of the event log on Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from flotilla_common.columns import Integers, Uuids
from flotilla_common.errors import NotFoundError
from flotilla_common.lane import fetch
from flotilla_common.postgres import Pool, map_database_errors, tenant_transaction

from flotilla_orchestrator.model import Run, StoredEvent
from flotilla_orchestrator.stores.run_store import PAGE_BYTES
from flotilla_orchestrator.stores.statements import runs as reads


class PostgresRunReader:
    """Implements RunReader under row-level security."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get_run(self, run_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Run:
        """Returns a run with its usage."""
        scope = {"run_id": run_id, "tenant_id": tenant_id, "user_id": user_id}
        rows = await self._fetch(reads.GET_RUN, scope)
        if not rows:
            raise NotFoundError("the run does not exist", reason="run_not_found")
        return reads.run_from(rows[0])

    async def list_runs(
        self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, before: UUID | None = None, limit: int = 50
    ) -> Sequence[Run]:
        """Returns a thread's runs, newest first."""
        scope = {
            "thread_id": thread_id,
            "tenant_id": tenant_id,
            "user_id": user_id,
            "before": before,
            "limit": limit,
        }
        return [reads.run_from(row) for row in await self._fetch(reads.LIST_RUNS, scope)]

    async def _fetch(self, statement: str, scope: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with map_database_errors():
            async with tenant_transaction(self._pool, scope["tenant_id"]) as connection:
                return await fetch(connection, statement, scope)


class PostgresEventReader:
    """Implements EventReader; whose run it is was asked before."""

    def __init__(self, pool: Pool) -> None:
        """Takes a pool that sees every tenant."""
        self._pool = pool

    async def read(self, run_id: UUID, *, after_sequence: int, limit: int = 500) -> Sequence[StoredEvent]:
        """Returns a page of the events after a sequence number, in order."""
        scope = {"run_id": run_id, "after": after_sequence, "limit": limit, "most_bytes": PAGE_BYTES}
        return await self._fetch(reads.READ_EVENTS, scope)

    async def read_many(self, positions: Mapping[UUID, int]) -> Sequence[StoredEvent]:
        """Returns the events of many runs after each one's position."""
        if not positions:
            return []
        arrays = {"run_id": Uuids(positions), "after": Integers(positions.values())}
        return await self._fetch(reads.READ_MANY_EVENTS, arrays)

    async def _fetch(self, statement: str, parameters: Mapping[str, Any]) -> list[StoredEvent]:
        with map_database_errors():
            async with self._pool.connection() as connection:
                return [StoredEvent(*row) for row in await fetch(connection, statement, parameters)]
