"""What is deleted by itself, and what is not."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest
from fakes.runs import TENANT, USER, append, checkpoint, finished, new_run
from fakes.servers import ServiceDatabase
from flotilla_common.errors import NotFoundError
from flotilla_common.postgres import Pool
from flotilla_common.sweeps import Pace, SweepMetrics, sweeping
from flotilla_orchestrator.model import NewRun
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery
from flotilla_orchestrator.stores.janitor import Janitor, Retention
from flotilla_orchestrator.stores.postgres_checkpoint_store import PostgresCheckpointStore
from flotilla_orchestrator.stores.postgres_run_reader import PostgresEventReader, PostgresRunReader
from flotilla_orchestrator.stores.postgres_run_store import PostgresRunStore
from flotilla_orchestrator.stores.postgres_thread_store import PostgresThreadStore
from prometheus_client import CollectorRegistry

ME = uuid4()
SMALL = Retention(pace=Pace(least=2, most=4))


def janitor(pool: Pool, registry: CollectorRegistry | None = None) -> Janitor:
    return Janitor(pool, SweepMetrics(registry or CollectorRegistry()), SMALL)


async def rows_left(pool: Pool, what: str) -> int:
    async with pool.connection() as connection:
        rows = await (await connection.execute(f"SELECT count(*) FROM {what}".encode())).fetchall()
    return int(rows[0][0])


async def run_to_its_end(pool: Pool, run: NewRun) -> None:
    store = PostgresRunStore(pool)
    await store.accept([run], owner=ME)
    await store.append([append(run, 2, checkpoints=[checkpoint(run)])])
    await store.finish([finished(run, 3)], owner=ME)


async def days_pass(pool: Pool, *columns: str) -> None:
    async with pool.connection() as connection:
        for column in columns:
            table, name = column.split(".")
            await connection.execute(f"UPDATE {table} SET {name} = {name} - interval '25 hours'")


async def test_events_go_a_day_after_the_runs_end_and_the_run_stays(pool: Pool) -> None:
    old, waiting = [new_run() for _ in range(5)], new_run()
    for run in old:
        await run_to_its_end(pool, run)
    await PostgresRunStore(pool).accept([waiting], owner=ME)
    await days_pass(pool, "runs.finished_at")
    fresh = new_run()
    await run_to_its_end(pool, fresh)

    deleted = await janitor(pool).events.run()

    events = await PostgresEventReader(pool).read_many({run.run_id: 0 for run in (*old, waiting, fresh)})
    assert deleted == 15
    assert {event.run_id for event in events} == {waiting.run_id, fresh.run_id}
    read = await PostgresRunReader(pool).get_run(old[0].run_id, tenant_id=TENANT, user_id=USER)
    assert read.answer is not None


async def test_expired_threads_go_with_everything_unless_a_run_works_on_them(pool: Pool) -> None:
    expired = [new_run(thread_ttl_s=3600.0) for _ in range(3)]
    busy, kept = new_run(thread_ttl_s=3600.0), new_run()
    for run in (*expired, kept):
        await run_to_its_end(pool, run)
    await PostgresRunStore(pool).accept([busy], owner=ME)
    await days_pass(pool, "threads.expires_at")

    deleted = await janitor(pool).threads.run()

    threads, checkpoints = PostgresThreadStore(pool), PostgresCheckpointStore(pool, TENANT)
    assert deleted == 3
    for run in expired:
        with pytest.raises(NotFoundError):
            await threads.get(run.thread_id, tenant_id=TENANT, user_id=USER)
        assert await checkpoints.find(CheckpointQuery(thread_id=run.thread_id)) == []
    for run in (busy, kept):
        assert (await threads.get(run.thread_id, tenant_id=TENANT, user_id=USER)).thread_id == run.thread_id


async def test_idempotency_keys_are_freed_after_a_day(pool: Pool) -> None:
    old = [new_run(idempotency_key=str(uuid4())) for _ in range(3)]
    for run in old:
        await run_to_its_end(pool, run)
    await days_pass(pool, "runs.created_at")
    fresh = new_run(idempotency_key=str(uuid4()))
    await run_to_its_end(pool, fresh)

    deleted = await janitor(pool).keys.run()

    async with pool.connection() as connection:
        kept = await (await connection.execute("SELECT run_id FROM runs WHERE idem_key IS NOT NULL")).fetchall()
    assert (deleted, kept) == (3, [(fresh.run_id,)])


async def expire(pool: Pool, count: int) -> list[UUID]:
    """Makes runs whose events, threads and keys are all due."""
    runs = [new_run(thread_ttl_s=3600.0, idempotency_key=str(uuid4())) for _ in range(count)]
    store = PostgresRunStore(pool)
    await store.accept(runs, owner=ME)
    await store.finish([finished(run, 2) for run in runs], owner=ME)
    await days_pass(pool, "runs.finished_at", "runs.created_at", "threads.expires_at")
    return [run.thread_id for run in runs]


@pytest.mark.timeout(60)
async def test_a_sweep_that_fails_holds_up_no_other(orchestrator_database: ServiceDatabase, pool: Pool) -> None:
    registry = CollectorRegistry()
    await expire(pool, 5)
    with psycopg.connect(orchestrator_database.superuser_url, autocommit=True) as connection:
        # Only the sweep of events writes this column.
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;"
            "CREATE TRIGGER refuse BEFORE UPDATE OF events_gone ON orchestrator.runs"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )

    async with sweeping(janitor(pool, registry).sweeps, interval_s=0.02):
        while await rows_left(pool, "threads") or await rows_left(pool, "runs WHERE idem_key IS NOT NULL"):  # noqa: ASYNC110 - the database says
            await asyncio.sleep(0.02)

    failures = registry.get_sample_value("flotilla_sweep_failures_total", {"kind": "events"})
    assert failures is not None
    assert failures > 0


async def test_janitors_share_the_work_and_wait_for_nothing_that_another_has(pool: Pool) -> None:
    await expire(pool, 60)
    janitors = [janitor(pool) for _ in range(4)]

    deleted = await asyncio.gather(*(sweep.run() for each in janitors for sweep in each.sweeps))

    assert sum(deleted[1::3]) == 60
    for table in ("threads", "runs", "events", "checkpoints"):
        assert await rows_left(pool, table) == 0


async def test_a_batch_leaves_what_another_process_has_locked(pool: Pool) -> None:
    threads = await expire(pool, 3)

    async with pool.connection() as other, other.transaction():
        await other.execute("SELECT FROM threads WHERE thread_id = %s FOR UPDATE", [threads[0]])
        deleted = await asyncio.wait_for(janitor(pool).threads.run(), 10)

    assert deleted == 2
    assert await janitor(pool).threads.run() == 1


async def test_what_was_deleted_and_how_far_behind_is_counted(pool: Pool) -> None:
    registry = CollectorRegistry()
    await expire(pool, 7)
    swept = janitor(pool, registry)

    for sweep in swept.sweeps:
        await sweep.run()

    counts = [registry.get_sample_value("flotilla_sweep_deleted_total", {"kind": sweep.kind}) for sweep in swept.sweeps]
    behind = registry.get_sample_value("flotilla_sweep_behind_seconds", {"kind": "threads"})
    # The keys went with the runs of the threads.
    assert counts == [14, 7, 0]
    assert behind is not None
    assert 0 <= behind < 30
