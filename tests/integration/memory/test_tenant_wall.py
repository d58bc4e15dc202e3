"""Row-level security of the memory schema, with the service's own filters out of the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from fakes.servers import ServiceDatabase
from flotilla_common.ids import new_id
from flotilla_common.postgres import open_pool, tenant_transaction
from flotilla_memory.model import Memory, MemoryKind, NewMemory, Person
from flotilla_memory.stores.postgres import PostgresMemoryStore
from integration.tenant_wall import may_define_tables, rows_seen, tables_without_wall


async def test_a_tenant_sees_its_own_rows_only(database: Callable[[str], ServiceDatabase]) -> None:
    fresh, person = database("memory"), Person(uuid4(), uuid4())
    episode = Memory(new_id(), MemoryKind.EPISODE, "hello", datetime.now(UTC), uuid4())
    fact = Memory(new_id(), MemoryKind.FACT, "hello", datetime.now(UTC))
    async with open_pool(fresh.url, min_size=1, max_size=1) as pool:
        store = PostgresMemoryStore(pool)
        await store.add_episode(person, NewMemory(episode, None))
        await store.add_fact(person, NewMemory(fact, None, idempotency_key="k"))
        async with tenant_transaction(pool, person.tenant_id) as connection:
            await connection.execute(
                "INSERT INTO core_blocks (tenant_id, user_id, label, text) VALUES (%s, %s, 'a', 'b')",
                [person.tenant_id, person.user_id],
            )

    own = rows_seen(fresh, "memory", person.tenant_id)

    assert own == {"memories": 2, "sketches": 2, "committed_runs": 1, "fact_keys": 1, "core_blocks": 1}
    assert set(rows_seen(fresh, "memory", uuid4()).values()) == {0}
    assert set(rows_seen(fresh, "memory", None).values()) == {0}
    assert tables_without_wall(fresh, "memory") == []
    assert not may_define_tables(fresh, "memory")
