"""What is deleted by itself, and what is not."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fakes.runs import TENANT, USER, append, checkpoint, finished, new_run
from flotilla_common.errors import NotFoundError
from flotilla_common.postgres import Pool
from flotilla_orchestrator.model import NewRun
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery
from flotilla_orchestrator.stores.janitor import Janitor, Retention, Swept
from flotilla_orchestrator.stores.postgres_checkpoint_store import PostgresCheckpointStore
from flotilla_orchestrator.stores.postgres_run_reader import PostgresEventReader, PostgresRunReader
from flotilla_orchestrator.stores.postgres_run_store import PostgresRunStore
from flotilla_orchestrator.stores.postgres_thread_store import PostgresThreadStore

ME = uuid4()
FAST = Retention(batch=2, pause_s=0)


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

    swept = await Janitor(pool, FAST).sweep()

    events = await PostgresEventReader(pool).read_many({run.run_id: 0 for run in (*old, waiting, fresh)})
    assert swept == Swept(runs_with_events=5, threads=0, keys=0)
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

    swept = await Janitor(pool, FAST).sweep()

    threads, checkpoints = PostgresThreadStore(pool), PostgresCheckpointStore(pool, TENANT)
    assert swept.threads == 3
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

    swept = await Janitor(pool, FAST).sweep()

    async with pool.connection() as connection:
        kept = await (await connection.execute("SELECT run_id FROM runs WHERE idem_key IS NOT NULL")).fetchall()
    assert (swept.keys, kept) == (3, [(fresh.run_id,)])
