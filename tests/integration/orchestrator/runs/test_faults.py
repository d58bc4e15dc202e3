"""Runs over a database whose connections break, and readers that do not read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from fakes.model_script import ScriptedModel, always
from fakes.run_engine import FAST, asked, engine_rig, is_dense, read_all, read_run
from fakes.run_stores import Stores, stores_on_postgres
from fakes.runs import new_run
from fakes.servers import ServiceDatabase
from flotilla_common.ids import new_id
from flotilla_common.postgres import Pool
from flotilla_orchestrator.model import RunStatus
from flotilla_orchestrator.runs.event_log.store_calls import StoreCalls, WriterTimes
from flotilla_orchestrator.runs.metrics import RunMetrics
from prometheus_client import CollectorRegistry

LONG = " ".join(f"w{number}" for number in range(60))


@pytest.fixture
def stores(pool: Pool) -> Stores:
    return stores_on_postgres(pool)


async def break_connections(database: ServiceDatabase, *, times: int, at_least: int) -> None:
    """Ends all of the service's connections again and again, until so many were ended."""
    ended = rounds = 0
    async with await psycopg.AsyncConnection.connect(database.superuser_url, autocommit=True) as connection:
        while rounds < times or ended < at_least:
            rows = await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [database.name],
            )
            ended += len(await rows.fetchall())
            rounds += 1
            await asyncio.sleep(0.15)


async def test_broken_connections_fail_no_run_and_lose_no_event(
    stores: Stores, orchestrator_database: ServiceDatabase, tmp_path: Path
) -> None:
    model = ScriptedModel(always(LONG, gap_s=0.02, hold_after=45))
    async with engine_rig(stores, tmp_path, model) as rig:
        views = [await rig.start(asked(rig, "Count")) for _ in range(10)]
        reading = asyncio.gather(*(read_all(view, timeout_s=60) for view in views))

        await break_connections(orchestrator_database, times=5, at_least=6)
        model.go_on.set()
        logs = await reading

    for log in logs:
        assert is_dense(log)
        assert "".join(event.token.text for event in log) == LONG
        assert log[-1].done.answer.content == LONG


async def test_tables_that_are_locked_for_a_while_end_no_run(
    stores: Stores, orchestrator_database: ServiceDatabase, tmp_path: Path
) -> None:
    model = ScriptedModel(always(LONG, hold_after=20))
    times = replace(FAST, writer=WriterTimes(call_timeout_s=0.05, alone_timeout_s=0.05))
    async with engine_rig(stores, tmp_path, model, times=times) as rig:
        views = [await rig.start(asked(rig, "Count")) for _ in range(5)]
        reading = asyncio.gather(*(read_all(view, timeout_s=60) for view in views))

        async with await psycopg.AsyncConnection.connect(orchestrator_database.owner_url) as blocker:
            await blocker.execute("LOCK TABLE checkpoints IN SHARE MODE")
            model.go_on.set()
            await asyncio.sleep(1.5)
            await blocker.rollback()
        logs = await reading

    assert all(is_dense(log) for log in logs)
    assert [log[-1].done.answer.content for log in logs] == [LONG] * 5


async def test_append_without_rows_tells_whether_the_database_answers(
    stores: Stores, orchestrator_database: ServiceDatabase
) -> None:
    run, owner = new_run(), new_id()
    times = WriterTimes(call_timeout_s=0.5)
    calls = StoreCalls(stores.runs, owner, times, RunMetrics(CollectorRegistry()), drop_expired=lambda: None)
    await stores.runs.accept([run], owner=owner)

    before = await calls.answers(run.run_id, 1)
    async with await psycopg.AsyncConnection.connect(orchestrator_database.owner_url) as blocker:
        await blocker.execute("LOCK TABLE checkpoints IN SHARE MODE")
        locked = await calls.answers(run.run_id, 1)

    assert (before, locked) == (True, False)


async def test_reader_that_never_reads_holds_nothing_up(stores: Stores, tmp_path: Path) -> None:
    async with engine_rig(stores, tmp_path, ScriptedModel(always(LONG))) as rig:
        new = asked(rig, "Count")
        idle = await rig.start(new)
        readers = [rig.engine.watch(await read_run(stores, new)) for _ in range(50)]

        logs = await asyncio.gather(*(read_all(view) for view in readers))
        late = await read_all(idle)

    assert all(log == late for log in logs)
    assert is_dense(late)
    for view in readers:
        view.close()


async def test_end_of_a_run_is_one_transaction(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    async with engine_rig(stores, tmp_path, ScriptedModel(always("Hello"))) as rig:
        rig.memory.is_away = True
        new = asked(rig, "Hi", agent="plain")
        await rig.answer(new)
        run = await read_run(stores, new)

    async with pool.connection() as connection:
        counts = await connection.execute(
            """SELECT (SELECT count(*) FROM leases WHERE run_id = %(id)s),
                (SELECT count(*) FROM usage WHERE run_id = %(id)s),
                (SELECT count(*) FROM checkpoints WHERE run_id = %(id)s),
                (SELECT count(*) FROM outbox WHERE run_id = %(id)s AND kind = 1)""",
            {"id": new.run_id},
        )
        assert await counts.fetchone() == (0, 1, 1, 1)
    assert run.status is RunStatus.SUCCEEDED
