"""Memories in Postgres with pgvector; every statement names the person, and row-level security repeats the tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import orjson
from flotilla_common.errors import DeadlineExceededError, FailedPreconditionError, UnavailableError
from flotilla_common.postgres import Connection, Pool, map_database_errors, tenant_transaction

from flotilla_memory.grouping import Grouping
from flotilla_memory.model import (
    Embedding,
    Findings,
    Glance,
    Memory,
    MemoryKind,
    MemoryPage,
    NewMemory,
    PagePosition,
    Person,
    RecallQuery,
)
from flotilla_memory.people import NotedPeople
from flotilla_memory.stores.find import find
from flotilla_memory.stores.grouped import add_episodes
from flotilla_memory.stores.look import look
from flotilla_memory.stores.words import text_digest

Item = TypeVar("Item")
Result = TypeVar("Result")
_AT_ONCE, _LARGEST = 2, 64
"""Groups under way of each kind, and how many people's one statement takes."""

# DO UPDATE changes nothing; it is what makes RETURNING give the row that was there, also under concurrency.
_CLAIM_KEY = """
INSERT INTO fact_keys (tenant_id, user_id, idempotency_key, text_digest, memory_id, run_id, created_at)
VALUES (%(tenant)s, %(user)s, %(key)s, %(digest)s, %(id)s, %(run)s, %(created_at)s)
ON CONFLICT (tenant_id, user_id, idempotency_key) DO UPDATE SET text_digest = fact_keys.text_digest
RETURNING memory_id, created_at, run_id, text_digest
"""
_ADD_FACT = """
INSERT INTO memories (tenant_id, memory_id, user_id, kind, text, text_digest, run_id, created_at, embedding_model,
  embedding)
VALUES (%(tenant)s, %(id)s, %(user)s, 2, %(text)s, %(digest)s, %(run)s, %(created_at)s, %(model)s,
  %(embedding)s::vector)
ON CONFLICT (tenant_id, user_id, text_digest) WHERE kind = 2 DO UPDATE SET text_digest = memories.text_digest
RETURNING memory_id, kind, text, created_at, run_id, thread_id
"""
_POINT_KEY = """
UPDATE fact_keys SET memory_id = %(kept)s, created_at = %(kept_at)s, run_id = %(kept_run)s
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND idempotency_key = %(key)s
"""
# Without OR or coalesce, so that a later page is where the index says and not behind all that is newer.
LIST = """
SELECT memory_id, kind, text, created_at, run_id, thread_id FROM memories
WHERE tenant_id = %(tenant)s AND user_id = %(user)s
  AND (created_at, memory_id) < (%(before)s::timestamptz, %(before_id)s::uuid)
ORDER BY created_at DESC, memory_id DESC LIMIT %(most)s
"""
_ABOVE_ALL = PagePosition(datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
_DELETE = "DELETE FROM memories WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND memory_id = %(id)s"


class PostgresMemoryStore:
    """Keeps memories in the schema `memory`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._with_many = NotedPeople()
        self._look_lane, self._find_lane, self._add_lane = (pool.lane() for _ in range(3))
        self._looks = Grouping(self._look_all, at_once=_AT_ONCE, largest=_LARGEST, is_common=_is_outage)
        self._finds = Grouping(self._find_all, at_once=_AT_ONCE, largest=_LARGEST, is_common=_is_outage)
        self._episodes = Grouping(self._add_all, at_once=_AT_ONCE, largest=_LARGEST, is_common=_is_outage)

    async def add_episode(self, person: Person, episode: NewMemory) -> bool:
        """Stores the run and its memory, with all others that wait, in one statement a tenant."""
        return await self._episodes.submit((person, episode))

    async def add_fact(self, person: Person, fact: NewMemory) -> Memory:
        """Claims the key first, so that of concurrent calls with one key a single one stores."""
        with map_database_errors():
            async with tenant_transaction(self._pool, person.tenant_id) as connection:
                if fact.idempotency_key is not None and (known := await _claim_key(connection, person, fact)):
                    return known
                return await _add_fact(connection, person, fact)

    async def look(self, person: Person, *, without_thread: UUID | None) -> Glance:
        """Reads no more than whether there is a row, with all others that wait, in one statement a tenant."""
        return await self._looks.submit((person, without_thread))

    async def find(self, person: Person, query: RecallQuery) -> Findings:
        """Compares the question with the person's rows, with all others that wait, in one statement a tenant."""
        return await self._finds.submit((person, query))

    async def list_page(self, person: Person, *, size: int, after: PagePosition | None) -> MemoryPage:
        """Reads one row more than asked for, to know whether there is a next page."""
        before = after or _ABOVE_ALL
        parameters = {
            **_person_parameters(person),
            "before": before.created_at,
            "before_id": before.memory_id,
            "most": size + 1,
        }
        with map_database_errors():
            async with tenant_transaction(self._pool, person.tenant_id) as connection:
                rows = await (await connection.execute(LIST, parameters)).fetchall()
        page = [_memory(row) for row in rows[:size]]
        return MemoryPage(page, PagePosition(page[-1].created_at, page[-1].id) if len(rows) > size else None)

    async def delete(self, person: Person, memory_id: UUID) -> bool:
        """Deletes the row with text and embedding."""
        with map_database_errors():
            async with tenant_transaction(self._pool, person.tenant_id) as connection:
                cursor = await connection.execute(_DELETE, {**_person_parameters(person), "id": memory_id})
                return cursor.rowcount == 1

    async def _look_all(self, asked: Sequence[tuple[Person, UUID | None]]) -> Sequence[Glance]:
        return await self._by_tenant(asked, partial(look, self._look_lane))

    async def _find_all(self, asked: Sequence[tuple[Person, RecallQuery]]) -> Sequence[Findings]:
        return await self._by_tenant(asked, partial(find, self._find_lane, with_many=self._with_many))

    async def _add_all(self, episodes: Sequence[tuple[Person, NewMemory]]) -> Sequence[bool]:
        return await self._by_tenant(episodes, partial(add_episodes, self._add_lane))

    async def _by_tenant(
        self,
        items: Sequence[tuple[Person, Item]],
        statement: Callable[[UUID, Sequence[tuple[UUID, Item]]], Awaitable[Sequence[Result]]],
    ) -> Sequence[Result]:
        """Runs a statement that names its tenant, once for each tenant; returns results in order."""
        places: dict[UUID, list[int]] = {}
        for place, (person, _) in enumerate(items):
            places.setdefault(person.tenant_id, []).append(place)
        found: dict[int, Result] = {}
        for tenant_id, mine in places.items():
            of_tenant = [(items[place][0].user_id, items[place][1]) for place in mine]
            with map_database_errors():
                found.update(zip(mine, await statement(tenant_id, of_tenant), strict=True))
        return [found[place] for place in range(len(items))]


def _is_outage(error: Exception) -> bool:
    return isinstance(error, UnavailableError | DeadlineExceededError)


async def _claim_key(connection: Connection, person: Person, fact: NewMemory) -> Memory | None:
    """Returns the memory that the key stored before, or None when the key is now this fact's."""
    cursor = await connection.execute(_CLAIM_KEY, _parameters(person, fact))
    memory_id, created_at, run_id, digest = _only(await cursor.fetchone())
    if digest != text_digest(fact.memory.text):
        raise FailedPreconditionError("The key was used for another text.", reason="idempotency_key_reused")
    if memory_id == fact.memory.id:
        return None
    return replace(fact.memory, id=memory_id, created_at=created_at, run_id=run_id)


async def _add_fact(connection: Connection, person: Person, fact: NewMemory) -> Memory:
    parameters = _parameters(person, fact)
    kept = _memory(_only(await (await connection.execute(_ADD_FACT, parameters)).fetchone()))
    if fact.idempotency_key is not None and kept.id != fact.memory.id:
        parameters |= {"kept": kept.id, "kept_at": kept.created_at, "kept_run": kept.run_id}
        await connection.execute(_POINT_KEY, parameters)
    return kept


def _person_parameters(person: Person) -> dict[str, Any]:
    return {"tenant": person.tenant_id, "user": person.user_id}


def _embedding_parameters(embedding: Embedding | None) -> dict[str, Any]:
    if embedding is None:
        return {"model": None, "embedding": None}
    # pgvector reads a vector as it reads JSON's array; writing that is cheaper than any adapter.
    return {"model": embedding.model, "embedding": orjson.dumps(list(embedding.vector)).decode()}


def _parameters(person: Person, new: NewMemory) -> dict[str, Any]:
    return {
        **_person_parameters(person),
        **_embedding_parameters(new.embedding),
        "id": new.memory.id,
        "text": new.memory.text,
        "digest": text_digest(new.memory.text),
        "run": new.memory.run_id,
        "thread": new.memory.thread_id,
        "agent": new.agent,
        "created_at": new.memory.created_at,
        "key": new.idempotency_key,
    }


def _memory(row: tuple[Any, ...]) -> Memory:
    memory_id, kind, text, created_at, run_id, thread_id = row
    return Memory(memory_id, MemoryKind(kind), text, created_at, run_id, thread_id)


def _only(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    if row is None:
        raise RuntimeError("the statement returns a row whatever happens")
    return row
