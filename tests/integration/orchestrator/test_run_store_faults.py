"""The run store where connections break, rows are bad and everybody comes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar
from uuid import uuid4

import psycopg
import pytest
from fakes.runs import TENANT, USER, append, checkpoint, event, finished, new_run
from fakes.servers import ServiceDatabase
from flotilla_common.errors import FlotillaError, UnavailableError
from flotilla_common.postgres import Pool, open_pool, tenant_transaction
from flotilla_orchestrator.model import ModelUsage, OutboxEntry, OutboxKind, RunStatus
from flotilla_orchestrator.stores.postgres_run_reader import PostgresEventReader, PostgresRunReader
from flotilla_orchestrator.stores.postgres_run_store import PostgresRunStore
from flotilla_orchestrator.stores.run_store import RunAppend

ME, OTHER = uuid4(), uuid4()
T = TypeVar("T")


async def again_until_answered(call: Callable[[], Awaitable[T]]) -> T:
    """Sends the same rows again as long as the connection breaks, as the group writer does."""
    while True:
        try:
            return await call()
        except UnavailableError:
            await asyncio.sleep(0)


async def kill_backends(superuser_url: str, killed: list[int], *, seed: int) -> None:
    """Ends the orchestrator's busy sessions every few milliseconds."""
    random = Random(seed)
    query = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'flotilla_orchestrator' AND state = 'active'
    """
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as connection:
        while True:
            await asyncio.sleep(random.uniform(0.005, 0.03))
            killed.append((await connection.execute(query)).rowcount)


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_or_doubled_when_connections_break(
    orchestrator_database: ServiceDatabase, seed: int
) -> None:
    runs = [new_run(idempotency_key=str(uuid4())) for _ in range(30)]
    killed: list[int] = []
    async with open_pool(orchestrator_database.url, system=True, max_size=4, wait_s=30) as pool:
        store = PostgresRunStore(pool)

        async def live(index: int) -> None:
            run, outbox = runs[index], [OutboxEntry(OutboxKind.OBSERVE, b"seen")]
            assert await again_until_answered(lambda: store.accept([run], owner=ME)) == {run.run_id}
            for number in range(2, 22, 2):
                batch = [append(run, number, number + 1, checkpoints=[checkpoint(run)])]
                assert await again_until_answered(lambda batch=batch: store.append(batch)) == {run.run_id}  # type: ignore[misc]
            end = [finished(run, 22, usage=[ModelUsage("m", 1, 1, 1)], outbox=outbox, checkpoints=[checkpoint(run)])]
            assert await again_until_answered(lambda: store.finish(end, owner=ME)) == {run.run_id}

        killer = asyncio.create_task(kill_backends(orchestrator_database.superuser_url, killed, seed=seed))
        try:
            await asyncio.gather(*map(live, range(len(runs))))
        finally:
            killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)

    async with open_pool(orchestrator_database.url, system=True) as pool:
        events = await PostgresEventReader(pool).read_many({run.run_id: 0 for run in runs})
        async with pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "SELECT (SELECT count(*) FROM checkpoints), (SELECT count(*) FROM usage),"
                    " (SELECT count(*) FROM outbox), (SELECT count(*) FROM leases)"
                )
            ).fetchone()
    assert sum(killed) > 0
    assert [one.sequence for one in events] == [*range(1, 23)] * len(runs)
    assert rows == (11 * len(runs), len(runs), len(runs), 0)


async def test_broken_connection_is_unavailable_and_the_next_call_works(
    pool: Pool, orchestrator_database: ServiceDatabase
) -> None:
    store, run = PostgresRunStore(pool), new_run()
    await store.accept([run], owner=ME)
    async with await psycopg.AsyncConnection.connect(orchestrator_database.owner_url) as blocker:
        await blocker.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(store.append([append(run, 2)]))
        await kill_when_waiting(orchestrator_database.superuser_url)
        with pytest.raises(UnavailableError):
            await waiting
        await blocker.rollback()

    assert await store.append([append(run, 2)]) == {run.run_id}


async def kill_when_waiting(superuser_url: str) -> None:
    """Ends the session that waits for a lock, as soon as there is one."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as connection:
        while not await (await connection.execute(query)).fetchall():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.01)


async def test_fifty_starts_with_one_key_are_one_run(pool: Pool) -> None:
    store, key = PostgresRunStore(pool), str(uuid4())
    runs = [new_run(idempotency_key=key) for _ in range(50)]

    accepted = await asyncio.gather(*(store.accept([run], owner=uuid4()) for run in runs))

    [winner] = set[object]().union(*accepted)
    losers = [run for run in runs if run.run_id != winner]
    twins = await asyncio.gather(*(store.explain_refusal(run) for run in losers))
    assert {twin.run_id for twin in twins} == {winner}


async def test_fifty_starts_of_one_run_are_one_run(pool: Pool) -> None:
    store, run = PostgresRunStore(pool), new_run()
    starts = [new_run(run_id=run.run_id, thread_id=run.thread_id, accepted_event=bytes([n])) for n in range(50)]

    accepted = await asyncio.gather(*(store.accept([start], owner=ME) for start in starts))

    assert [ids for ids in accepted if ids] == [{run.run_id}]


async def test_of_fifty_starts_on_one_thread_one_runs(pool: Pool) -> None:
    store, thread_id = PostgresRunStore(pool), uuid4()
    runs = [new_run(thread_id=thread_id) for _ in range(50)]

    accepted = await asyncio.gather(*(store.accept([run], owner=uuid4()) for run in runs))

    reader = PostgresRunReader(pool)
    stored = await reader.list_runs(thread_id, tenant_id=TENANT, user_id=USER)
    assert sum(map(len, accepted)) == 1
    assert [run.status for run in stored] == [RunStatus.RUNNING]


async def test_one_bad_row_costs_only_its_own_run(pool: Pool) -> None:
    store, good, bad = PostgresRunStore(pool), new_run(), new_run()
    impossible = new_run(agent="no\x00where")

    # Longer than an entry of an index may be.
    unfindable = new_run(idempotency_key=Random(1).randbytes(9000).hex())

    accepted = await store.accept([good, impossible, unfindable, bad], owner=ME)
    owned = await store.append([append(good, 2), RunAppend(bad.run_id, 1, [event(bad, 2**40)])])
    ended = await store.finish([finished(good, 3), finished(bad, 2, usage=[ModelUsage("m", 2**70, 0, 0)])], owner=ME)

    assert accepted == {good.run_id, bad.run_id}
    assert (owned, ended) == ({good.run_id}, {good.run_id})


async def test_claim_gets_past_a_zombie_that_holds_its_row(pool: Pool) -> None:
    store, run = PostgresRunStore(pool), new_run()
    await store.accept([run], owner=ME)
    async with pool.connection() as connection:
        await connection.execute("UPDATE leases SET expires_at = now() - interval '4 s'")
    async with pool.connection() as zombie:
        await zombie.execute("BEGIN; SELECT FROM leases FOR KEY SHARE")
        claim = asyncio.create_task(store.claim(owner=OTHER, limit=10))
        done, _ = await asyncio.wait([claim], timeout=0.3)
        await zombie.execute("COMMIT")

    assert not done
    assert [one.run_id for one in await claim] == [run.run_id]


async def test_claim_gives_up_on_a_row_that_stays_locked(pool: Pool) -> None:
    store, stuck, free = PostgresRunStore(pool), new_run(), new_run()
    await store.accept([stuck, free], owner=ME)
    async with pool.connection() as zombie:
        await zombie.execute("UPDATE leases SET expires_at = now() - interval '4 s'")
        await zombie.execute("BEGIN")
        await zombie.execute("SELECT FROM leases WHERE run_id = %s FOR KEY SHARE", [stuck.run_id])
        claimed = await store.claim(owner=OTHER, limit=10)
        await zombie.execute("ROLLBACK")

    assert [one.run_id for one in claimed] == [free.run_id]


async def test_heartbeats_and_ends_do_not_deadlock(pool: Pool) -> None:
    store = PostgresRunStore(pool)
    for _ in range(20):
        runs = [new_run() for _ in range(40)]
        await store.accept(runs, owner=ME)
        epochs = {run.run_id: 1 for run in runs}
        ends = [store.finish([finished(run, 2) for run in runs[half::2]][::-1], owner=ME) for half in (0, 1)]
        beats = [store.beat(dict(reversed(epochs.items())), owner=ME) for _ in range(4)]

        first, second, *_ = await asyncio.gather(*ends, *beats)

        assert {*first, *second} == set(epochs)


async def test_row_level_security_shows_a_tenant_only_its_own(orchestrator_database: ServiceDatabase) -> None:
    mine, theirs = new_run(), new_run(tenant_id=uuid4())
    async with open_pool(orchestrator_database.url, system=True) as system:
        await PostgresRunStore(system).accept([mine, theirs], owner=ME)
    async with open_pool(orchestrator_database.url) as pool:
        async with pool.connection() as connection:
            without_tenant = await (await connection.execute("SELECT run_id FROM runs")).fetchall()
        seen = []
        for table in ("runs", "threads", "leases", "events"):
            async with tenant_transaction(pool, TENANT) as connection:
                cursor = await connection.execute(f"SELECT DISTINCT tenant_id FROM {table}")
                seen.append(await cursor.fetchall())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with tenant_transaction(pool, TENANT) as connection:
                await connection.execute(
                    "INSERT INTO threads (thread_id, tenant_id, user_id) VALUES (%s, %s, %s)",
                    [uuid4(), theirs.tenant_id, USER],
                )
        with pytest.raises(FlotillaError):
            await PostgresRunReader(pool).get_run(theirs.run_id, tenant_id=TENANT, user_id=USER)

    assert without_tenant == []
    assert seen == [[(TENANT,)]] * 4


async def test_every_table_has_row_level_security(pool: Pool) -> None:
    query = """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'orchestrator'::regnamespace AND relkind = 'r' AND NOT relrowsecurity
    """
    async with pool.connection() as connection:
        bare = await (await connection.execute(query)).fetchall()

    assert bare == [("schema_migrations",)]
