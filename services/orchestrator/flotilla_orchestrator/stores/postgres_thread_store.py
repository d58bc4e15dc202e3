"""Threads on Postgres, under row-level security."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from flotilla_common.errors import AbortedError, AlreadyExistsError, NotFoundError
from flotilla_common.lane import fetch
from flotilla_common.postgres import Pool, map_database_errors, tenant_transaction

from flotilla_orchestrator.model import Json, Thread
from flotilla_orchestrator.stores.encoding import storable_json
from flotilla_orchestrator.stores.statements import threads as statements
from flotilla_orchestrator.stores.thread_store import ThreadQuery


class PostgresThreadStore:
    """Implements ThreadStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, metadata: Json, ttl_s: float | None, may_exist: bool
    ) -> Thread:
        """Creates a thread, or returns the user's own when it may exist."""
        scope = _scope(thread_id, tenant_id, user_id)
        given = {**scope, "metadata": storable_json(metadata), "ttl_s": ttl_s}
        with map_database_errors():
            async with tenant_transaction(self._pool, tenant_id) as connection:
                made = await fetch(connection, statements.CREATE, given)
                found = await fetch(connection, statements.GET, scope) if made or may_exist else []
        if not found:
            raise AlreadyExistsError("the thread id is taken", reason="thread_exists", field="thread_id")
        return statements.thread_from(found[0])

    async def get(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Thread:
        """Returns a thread."""
        return await self._one(statements.GET, _scope(thread_id, tenant_id, user_id))

    async def update_metadata(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, metadata: Json) -> Thread:
        """Replaces the keys that are given and keeps the others."""
        scope = _scope(thread_id, tenant_id, user_id)
        return await self._one(statements.UPDATE_METADATA, {**scope, "metadata": storable_json(metadata)})

    async def delete(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID) -> None:
        """Deletes a thread with its runs, checkpoints and events."""
        with map_database_errors():
            async with tenant_transaction(self._pool, tenant_id) as connection:
                if not await fetch(connection, statements.LOCK, _scope(thread_id, tenant_id, user_id)):
                    raise _not_found()
                threads = {"thread_ids": [thread_id]}
                if await fetch(connection, statements.IS_BUSY, threads):
                    raise AbortedError("a run works on the thread", reason="thread_busy")
                for statement in statements.DELETE:
                    await fetch(connection, statement, threads)

    async def search(self, query: ThreadQuery, *, tenant_id: UUID, user_id: UUID) -> Sequence[Thread]:
        """Returns a user's threads, last updated first."""
        before_at, before_id = query.before or (None, None)
        asked = {
            "tenant_id": tenant_id,
            "user_id": user_id,
            "metadata": storable_json(query.metadata),
            "status": None if query.status is None else int(query.status),
            "before_at": before_at,
            "before_id": before_id,
            "limit": query.limit,
        }
        return [statements.thread_from(row) for row in await self._fetch(statements.SEARCH, asked)]

    async def _one(self, statement: str, parameters: Mapping[str, Any]) -> Thread:
        rows = await self._fetch(statement, parameters)
        if not rows:
            raise _not_found()
        return statements.thread_from(rows[0])

    async def _fetch(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with map_database_errors():
            async with tenant_transaction(self._pool, parameters["tenant_id"]) as connection:
                return await fetch(connection, statement, parameters)


def _scope(thread_id: UUID, tenant_id: UUID, user_id: UUID) -> dict[str, UUID]:
    return {"thread_id": thread_id, "tenant_id": tenant_id, "user_id": user_id}


def _not_found() -> NotFoundError:
    return NotFoundError("the thread does not exist", reason="thread_not_found")
