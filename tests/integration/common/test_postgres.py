"""Pools and tenants, on a real Postgres with row-level security."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from uuid import UUID, uuid4

import psycopg
import pytest
from fakes.servers import PostgresServer, ServiceDatabase
from flotilla_cli.embedded.provision import OWNER, drop_database, provision_database, role_of
from flotilla_common.errors import AbortedError, DeadlineExceededError, InvalidArgumentError, UnavailableError
from flotilla_common.postgres import (
    NAMED_TENANT,
    Pool,
    map_database_errors,
    open_pool,
    system_transaction,
    tenant_transaction,
)
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

TABLE = """
CREATE TABLE memory.notes (tenant_id uuid NOT NULL, note text NOT NULL);
ALTER TABLE memory.notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON memory.notes
  USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
GRANT USAGE ON SCHEMA memory TO flotilla_memory;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA memory TO flotilla_memory;
"""
NOTES = f"""
WITH named AS MATERIALIZED (SELECT {NAMED_TENANT} AS tenant)
SELECT n.note FROM named CROSS JOIN LATERAL (SELECT note FROM notes WHERE tenant_id = named.tenant OFFSET 0) n
"""
ANNA, BEN = uuid4(), uuid4()


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    name = f"test_common_{uuid4().hex[:8]}"
    provision_database(postgres_server.superuser_url, name)
    with psycopg.connect(postgres_server.url(OWNER, name), autocommit=True) as connection:
        connection.execute(TABLE)
    yield postgres_server.url(role_of("memory"), name)
    drop_database(postgres_server.superuser_url, name)


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    async with open_pool(url, min_size=1, max_size=2) as opened:
        yield opened


async def notes(pool: Pool, tenant_id: UUID) -> list[str]:
    async with tenant_transaction(pool, tenant_id) as connection:
        rows = await (await connection.execute("SELECT note FROM notes ORDER BY note")).fetchall()
    return [note for (note,) in rows]


async def write(pool: Pool, tenant_id: UUID, note: str) -> None:
    async with tenant_transaction(pool, tenant_id) as connection:
        await connection.execute("INSERT INTO notes VALUES (%s, %s)", [tenant_id, note])


async def test_tenants_see_their_own_rows_only(pool: Pool) -> None:
    await write(pool, ANNA, "hers")
    await write(pool, BEN, "his")

    assert await notes(pool, ANNA) == ["hers"]
    assert await notes(pool, BEN) == ["his"]
    assert await notes(pool, uuid4()) == []


async def test_tenant_cannot_write_for_another(pool: Pool) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with tenant_transaction(pool, ANNA) as connection:
            await connection.execute("INSERT INTO notes VALUES (%s, 'planted')", [BEN])


async def test_tenant_ends_with_its_transaction(pool: Pool) -> None:
    await write(pool, ANNA, "kept")

    for _ in range(3):
        async with pool.connection() as connection:
            row = await (await connection.execute("SELECT count(*) FROM notes")).fetchone()

        assert row == (0,)


async def notes_in_one_statement(pool: Pool, tenant_id: UUID) -> list[str]:
    async with pool.connection() as connection:
        rows = await (await connection.execute(NOTES, {"tenant": tenant_id})).fetchall()
    return [note for (note,) in rows]


@pytest.mark.parametrize("plans_once", [False, True])
async def test_statement_that_names_its_tenant_sees_that_tenants_rows_only(url: str, plans_once: bool) -> None:
    anna, ben = uuid4(), uuid4()
    async with open_pool(url, min_size=1, max_size=1, plans_once=plans_once) as pool:
        await write(pool, anna, "hers")
        await write(pool, ben, "his")

        # Often enough that it is prepared, and its plan kept.
        seen = [await notes_in_one_statement(pool, each) for _ in range(10) for each in (anna, ben)]
        async with pool.connection() as connection:
            afterwards = await (await connection.execute("SELECT count(*) FROM notes")).fetchone()

    assert seen == [["hers"], ["his"]] * 10
    assert afterwards == (0,)


@pytest.mark.parametrize(("plans_once", "mode"), [(False, "auto"), (True, "force_generic_plan")])
async def test_pool_plans_once_when_asked(url: str, plans_once: bool, mode: str) -> None:
    async with open_pool(url, min_size=1, max_size=1, plans_once=plans_once) as pool, pool.connection() as connection:
        shown = await (await connection.execute("SHOW plan_cache_mode")).fetchone()

    assert shown == (mode,)


async def test_error_rolls_back(pool: Pool) -> None:
    tenant_id = uuid4()

    async def write_and_fail() -> None:
        async with tenant_transaction(pool, tenant_id) as connection:
            await connection.execute("INSERT INTO notes VALUES (%s, 'lost')", [tenant_id])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await write_and_fail()

    assert await notes(pool, tenant_id) == []


async def test_concurrent_transactions_keep_their_tenants(pool: Pool) -> None:
    tenants = [uuid4() for _ in range(20)]
    await asyncio.gather(*(write(pool, tenant_id, str(tenant_id)) for tenant_id in tenants))

    found = await asyncio.gather(*(notes(pool, tenant_id) for tenant_id in tenants))

    assert found == [[str(tenant_id)] for tenant_id in tenants]


async def test_system_pool_sees_every_tenant(pool: Pool, url: str) -> None:
    tenant_id, other = uuid4(), uuid4()
    await write(pool, tenant_id, "one")
    await write(pool, other, "two")

    async with (
        open_pool(SecretStr(url), min_size=1, max_size=1, system=True) as system,
        system_transaction(system) as connection,
    ):
        query = "SELECT note FROM notes WHERE tenant_id = ANY(%s) ORDER BY note"
        rows = await (await connection.execute(query, [[tenant_id, other]])).fetchall()

    assert rows == [("one",), ("two",)]


async def test_statements_are_prepared(pool: Pool) -> None:
    async with pool.connection() as connection:
        for _ in range(4):
            await connection.execute("SELECT %s::int", [1])
        row = await (await connection.execute("SELECT count(*) FROM pg_prepared_statements")).fetchone()

    assert row is not None
    assert row[0] >= 1


async def test_connection_that_was_closed_while_idle_fails_nobody(pool: Pool, postgres_server: PostgresServer) -> None:
    await notes(pool, ANNA)
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as administrator:
        administrator.execute(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE application_name = 'flotilla_memory'"
        )

    for _ in range(5):
        await notes(pool, ANNA)


async def test_lost_connection_is_unavailable(pool: Pool) -> None:
    with pytest.raises(UnavailableError) as caught, map_database_errors():
        async with tenant_transaction(pool, ANNA) as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    assert caught.value.reason == "database_unavailable"
    assert isinstance(await notes(pool, ANNA), list)


async def test_pool_without_a_free_connection_is_unavailable(url: str) -> None:
    async with open_pool(url, min_size=1, max_size=1, wait_s=0.1) as pool, tenant_transaction(pool, ANNA):
        with pytest.raises(UnavailableError) as caught, map_database_errors():
            await notes(pool, BEN)

    assert caught.value.reason == "database_busy"


async def test_statement_over_its_time_is_deadline_exceeded(pool: Pool) -> None:
    async with tenant_transaction(pool, ANNA) as connection:
        await connection.execute("SET LOCAL statement_timeout = '50ms'")
        with pytest.raises(DeadlineExceededError), map_database_errors():
            await connection.execute("SELECT pg_sleep(5)")


def test_value_that_is_too_large_is_the_callers_fault() -> None:
    with pytest.raises(InvalidArgumentError), map_database_errors():
        raise psycopg.errors.ProgramLimitExceeded("index row size exceeds maximum")


async def test_conflict_of_writes_is_aborted(url: str) -> None:
    async with open_pool(url, min_size=2, max_size=2) as pool:
        await write(pool, ANNA, "contested")
        async with tenant_transaction(pool, ANNA) as first, tenant_transaction(pool, ANNA) as second:
            await first.execute("UPDATE notes SET note = note")
            await second.execute("SET LOCAL lock_timeout = '50ms'")
            with pytest.raises(AbortedError), map_database_errors():
                await second.execute("UPDATE notes SET note = note")


async def test_defect_of_a_statement_stays_what_it_is(pool: Pool) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable), map_database_errors():
        async with tenant_transaction(pool, ANNA) as connection:
            await connection.execute("SELECT * FROM nothing")


async def test_database_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flotilla_common.postgres.OPEN_TIMEOUT_S", 0.3)

    with pytest.raises(UnavailableError, match="the database is away"):
        async with open_pool("postgresql://nobody@127.0.0.1:1/none", min_size=1, max_size=1):
            raise AssertionError("opened")


async def test_pool_is_back_soon_after_the_database(url: str) -> None:
    given = conninfo_to_dict(url)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing.append(asyncio.current_task())
        there = await asyncio.open_connection(str(given["host"]), int(str(given["port"])))
        opened.extend([writer, there[1]])
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    opened: list[asyncio.StreamWriter] = []
    passing: list[asyncio.Task[None] | None] = []
    proxy = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    through = make_conninfo(url, host="127.0.0.1", port=port)
    async with open_pool(through, min_size=1, max_size=1, wait_s=0.2) as pool:
        proxy.close()
        for writer in opened:
            writer.transport.abort()
        away_until = time.monotonic() + 8
        while time.monotonic() < away_until:
            await _answers(pool)
        assert not await _answers(pool)
        proxy = await asyncio.start_server(pass_on, "127.0.0.1", port)
        back = time.monotonic()
        while not await _answers(pool):
            assert time.monotonic() - back < 4.5
    proxy.close()
    await asyncio.gather(*(task for task in passing if task))


async def _answers(pool: Pool) -> bool:
    try:
        with map_database_errors():
            async with pool.connection() as connection:
                await connection.execute("SELECT 1")
    except UnavailableError:
        return False
    return True


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def test_fixture_of_services_still_fits(database: Callable[[str], ServiceDatabase]) -> None:
    found = database("memory")

    with psycopg.connect(found.url) as connection:
        connection.execute("SELECT 1 FROM memory.schema_migrations")
