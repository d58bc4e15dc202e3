"""Two processes' engines on one database: what one leaves, the other goes on with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.model_script import Reply, ScriptedModel, always, in_turn
from fakes.run_engine import (
    FAST,
    EngineRig,
    asked,
    decoded,
    engine_rig,
    is_dense,
    kinds,
    read_all,
    read_run,
    text_of,
    until,
)
from fakes.run_stores import Stores, stores_on_postgres
from flotilla.orchestrator.v1 import event_pb2, run_pb2
from flotilla_common.postgres import Pool
from flotilla_orchestrator.model import NewRun, RunStatus

LONG = "one two three four five six seven eight nine ten"
LEASE = timedelta(seconds=7)
SILENT = replace(FAST, lease=replace(FAST.lease, beat_interval_s=60.0))
"""No beat comes between a lease that has ended and the next owner's claim, as none comes from a frozen process."""


@pytest.fixture
def stores(pool: Pool) -> Stores:
    return stores_on_postgres(pool)


@dataclass
class Pair:
    """Two engines; closing `crash` kills the first: nothing is handed back and no lease is ended."""

    first: EngineRig
    second: EngineRig
    crash: AsyncExitStack


@asynccontextmanager
async def two_engines(stores: Stores, folder: Path, first: ScriptedModel, second: ScriptedModel) -> AsyncIterator[Pair]:
    async with engine_rig(stores, folder, second) as survivor, AsyncExitStack() as crash:
        yield Pair(await crash.enter_async_context(engine_rig(stores, folder, first, times=SILENT)), survivor, crash)


async def crash_and_read(pair: Pair, stores: Stores, new: NewRun) -> list[event_pb2.RunEvent]:
    """Kills the first engine while its model holds and returns what a watcher at the second one reads in all."""
    await pair.first.start(new)
    await asyncio.wait_for(pair.first.model.holding.wait(), 20)
    with pair.second.engine.watch(await read_run(stores, new)) as watching:
        await pair.first.engine._active[new.run_id].journal.commit()
        await pair.crash.aclose()
        await stores.time.pass_by(LEASE)
        return await read_all(watching)


async def test_deterministic_reply_goes_on_where_it_was_cut(stores: Stores, tmp_path: Path) -> None:
    holding, going = ScriptedModel(always(LONG, hold_after=4)), ScriptedModel(always(LONG))
    async with two_engines(stores, tmp_path, holding, going) as pair:
        new = asked(pair.first, "Count")

        log = await crash_and_read(pair, stores, new)
        run = await read_run(stores, new)

    assert is_dense(log)
    assert "reply_restarted" not in kinds(log)
    assert "".join(event.token.text for event in log) == LONG
    assert log[-1].done.answer.content == LONG
    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 2)
    assert kinds(log).count("accepted") == 1
    assert kinds(log).count("message") == 2


async def test_reply_that_differs_is_restarted_and_never_mixed(stores: Stores, tmp_path: Path) -> None:
    holding, other = ScriptedModel(always(LONG, hold_after=4)), ScriptedModel(always("one two drei vier"))
    async with two_engines(stores, tmp_path, holding, other) as pair:
        log = await crash_and_read(pair, stores, asked(pair.first, "Count"))

    restarts = [event.reply_restarted for event in log if event.HasField("reply_restarted")]
    assert is_dense(log)
    assert [restart.attempt for restart in restarts] == [2]
    assert list(restarts[0].message_ids) == [log[-1].done.answer.id]
    assert text_of(log) == "one two drei vier"
    assert log[-1].done.answer.content == "one two drei vier"


async def test_finished_steps_are_read_and_not_repeated(stores: Stores, tmp_path: Path) -> None:
    call = Reply(calls=[("calculator", '{"x": 1}')])
    holding = ScriptedModel(in_turn(call, Reply(LONG, hold_after=2)))
    going = ScriptedModel(always(LONG))
    async with two_engines(stores, tmp_path, holding, going) as pair:
        log = await crash_and_read(pair, stores, asked(pair.first, "What is 1?", agent="worker"))
        survivor = pair.second

    assert is_dense(log)
    assert len(pair.first.tools.invoked) == 1
    assert survivor.tools.invoked == []
    assert len(going.requests) == 1
    assert [message["role"] for message in going.requests[0].messages] == ["system", "user", "assistant", "tool"]
    assert "".join(event.token.text for event in log) == LONG
    assert kinds(log).count("tool") == 2
    assert log[-1].done.usage[0].input_tokens == 20


async def test_run_that_crashes_too_often_is_given_up(stores: Stores, tmp_path: Path) -> None:
    async with engine_rig(stores, tmp_path, ScriptedModel(always(LONG, hold_after=1))) as first:
        new = asked(first, "Count")
        await first.start(new)
        await asyncio.wait_for(first.model.holding.wait(), 20)
    for attempt in (2, 3):
        await stores.time.pass_by(LEASE)
        async with engine_rig(stores, tmp_path, ScriptedModel(always(LONG, hold_after=1))) as again:
            await asyncio.wait_for(again.model.holding.wait(), 20)
            assert (await read_run(stores, new)).attempt == attempt

    await stores.time.pass_by(LEASE)
    async with engine_rig(stores, tmp_path, ScriptedModel(always(LONG))) as last:
        log = await read_all(last.engine.watch(await read_run(stores, new)))

    assert log[-1].failed.status == run_pb2.RUN_STATUS_DEAD_LETTERED
    assert log[-1].failed.error.reason == "crashed_too_often"
    assert (await read_run(stores, new)).status is RunStatus.DEAD_LETTERED


async def test_owner_that_lost_its_run_writes_nothing_more(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    stale, going = ScriptedModel(always(LONG, hold_after=4)), ScriptedModel(always(LONG, gap_s=0.02))
    async with two_engines(stores, tmp_path, stale, going) as pair:
        new = asked(pair.first, "Count")
        await pair.first.start(new)
        await asyncio.wait_for(stale.holding.wait(), 20)
        # The first engine's own reaper must not win its run back.
        pair.first.engine.stop_claiming()
        await stores.time.pass_by(LEASE)
        await until(lambda: pair.second.engine.owns(new.run_id))
        stale.go_on.set()
        log = await read_all(pair.second.engine.watch(await read_run(stores, new)))
        await until(lambda: not pair.first.engine.owns(new.run_id))

    async with pool.connection() as connection:
        rows = await connection.execute("SELECT epoch FROM events WHERE run_id = %s ORDER BY seq", [new.run_id])
        epochs = [epoch for (epoch,) in await rows.fetchall()]
    assert epochs == sorted(epochs)
    assert set(epochs) == {1, 2}
    assert "".join(event.token.text for event in log) == LONG


async def test_drain_hands_back_and_another_process_goes_on_at_once(stores: Stores, tmp_path: Path) -> None:
    holding, going = ScriptedModel(always(LONG, hold_after=4)), ScriptedModel(always(LONG))
    async with two_engines(stores, tmp_path, holding, going) as pair:
        new = asked(pair.first, "Count")
        await pair.first.start(new)
        await asyncio.wait_for(holding.holding.wait(), 20)
        watching = pair.second.engine.watch(await read_run(stores, new))

        await pair.first.engine.drain()
        with watching:
            log = await read_all(watching, timeout_s=5)
        run = await read_run(stores, new)

    assert is_dense(log)
    assert "".join(event.token.text for event in log) == LONG
    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 1)


def spoken(events: Sequence[event_pb2.RunEvent]) -> str:
    """Returns the reply as far as events tell it."""
    return "".join(event.token.text for event in events)


async def test_watcher_reads_what_the_dead_owner_wrote_before_the_new_one_speaks(
    stores: Stores, tmp_path: Path
) -> None:
    holding, silent = ScriptedModel(always(LONG, hold_after=4)), ScriptedModel(always(LONG, hold_after=0))
    never_polls = replace(FAST, poll_interval_s=60)
    async with engine_rig(stores, tmp_path, silent, times=never_polls) as survivor, AsyncExitStack() as crash:
        dead = await crash.enter_async_context(engine_rig(stores, tmp_path, holding))
        new = asked(dead, "Count")
        await dead.start(new)
        with survivor.engine.watch(await read_run(stores, new)) as watching:
            first = decoded(await anext(watching))
            await asyncio.wait_for(holding.holding.wait(), 20)
            await dead.engine._active[new.run_id].journal.commit()
            await crash.aclose()
            await stores.time.pass_by(LEASE)
            await asyncio.wait_for(silent.holding.wait(), 20)

            # The first look may have found some of it, or all.
            seen = list(first)
            while spoken(seen) != "one two three four":
                seen += decoded(await asyncio.wait_for(anext(watching), 20))
            silent.go_on.set()
            rest = await read_all(watching)

    assert spoken([*seen, *rest]) == LONG


async def test_process_that_claims_its_own_run_again_executes_it_once(stores: Stores, tmp_path: Path) -> None:
    call = Reply(calls=[("calculator", '{"x": 1}')])
    model = ScriptedModel(
        in_turn(Reply("one two", calls=call.calls, hold_after=1), Reply("one two", calls=call.calls), Reply(LONG))
    )
    async with engine_rig(stores, tmp_path, model, times=SILENT) as rig:
        new = asked(rig, "What is 1?", agent="worker")
        view = await rig.start(new)
        await asyncio.wait_for(model.holding.wait(), 20)

        # What a process finds that was frozen for longer than its lease.
        await stores.time.pass_by(LEASE)
        log = await read_all(view)
        model.go_on.set()
        run = await read_run(stores, new)

    assert is_dense(log)
    assert model.closed == 1
    assert len(rig.tools.invoked) == 1
    assert log[-1].done.answer.content == LONG
    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 2)
