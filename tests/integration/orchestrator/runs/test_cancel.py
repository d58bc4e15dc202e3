"""Runs that are cancelled, whatever their owner does meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fakes.model_script import Reply, ScriptedModel, always, in_turn
from fakes.run_engine import AGENTS, EngineRig, asked, engine_rig, is_dense, kinds, read_all, read_run, until
from fakes.run_stores import Stores, stores_on_postgres
from flotilla.orchestrator.v1 import event_pb2, run_pb2
from flotilla_common.postgres import Pool
from flotilla_orchestrator.model import NewRun, RunStatus

ENDED_WITHIN_S = 3
"""After a cancel, whoever has to end the run."""
CANCEL_GRACE_S = 1.5
"""How long an owner has to heed a cancel, as the store's statements say; a run that waits for a person has no owner."""
LONG = "one two three four five six seven eight nine ten"
ASKING = """
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

def ask(state):
    return {"messages": [("ai", interrupt("Sure?"))]}

graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask")
"""
WITH_ASKING = {
    **AGENTS,
    "cancel_asking.py": ASKING,
    "asking.yaml": "name: asking\ndescription: Asks.\ngraph: cancel_asking:graph\n",
}


@pytest.fixture
def stores(pool: Pool) -> Stores:
    return stores_on_postgres(pool)


async def cancel(stores: Stores, new: NewRun, *, asked_at: EngineRig) -> None:
    """Cancels a run as CancelRun at one process does."""
    await stores.runs.request_cancel(new.run_id, tenant_id=new.tenant_id, user_id=new.user_id)
    asked_at.engine.cancel(new.run_id)


async def epochs_of(pool: Pool, new: NewRun) -> set[int]:
    """Returns under which ownerships a run's events were written."""
    async with pool.connection() as connection:
        rows = await connection.execute("SELECT DISTINCT epoch FROM events WHERE run_id = %s", [new.run_id])
        return {epoch for (epoch,) in await rows.fetchall()}


def was_cancelled(log: Sequence[event_pb2.RunEvent]) -> bool:
    last = log[-1].failed
    return is_dense(log) and (last.status, last.error.reason) == (run_pb2.RUN_STATUS_CANCELLED, "cancelled")


async def test_cancel_at_another_process_ends_the_run(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    holding = ScriptedModel(always(LONG, hold_after=4))
    async with (
        engine_rig(stores, tmp_path, ScriptedModel(always(LONG))) as other,
        engine_rig(stores, tmp_path, holding) as owner,
    ):
        new = asked(owner, "Count")
        view = await owner.start(new)
        await asyncio.wait_for(holding.holding.wait(), 20)

        await cancel(stores, new, asked_at=other)
        log = await read_all(view, timeout_s=ENDED_WITHIN_S)

    assert was_cancelled(log)
    assert await epochs_of(pool, new) == {1}
    assert holding.closed == 1


async def test_cancel_of_a_dead_owners_run_does_not_wait_for_its_lease(
    stores: Stores, pool: Pool, tmp_path: Path
) -> None:
    call = Reply(calls=[("calculator", '{"x": 1}')])
    holding, unused = ScriptedModel(in_turn(call, Reply(LONG, hold_after=2))), ScriptedModel(always(LONG))
    async with engine_rig(stores, tmp_path, unused) as survivor, AsyncExitStack() as crash:
        dead = await crash.enter_async_context(engine_rig(stores, tmp_path, holding))
        new = asked(dead, "What is 1?", agent="worker")
        await dead.start(new)
        await asyncio.wait_for(holding.holding.wait(), 20)
        await crash.aclose()
        async with pool.connection() as connection:
            await connection.execute("UPDATE leases SET expires_at = now() + interval '1 hour'")

        await cancel(stores, new, asked_at=survivor)
        log = await read_all(survivor.engine.watch(await read_run(stores, new)), timeout_s=ENDED_WITHIN_S)

    assert was_cancelled(log)
    assert log[-1].failed.usage[0].input_tokens == 10
    assert unused.requests == []
    assert (await read_run(stores, new)).attempt == 1


async def test_owner_that_does_not_heed_a_cancel_is_fenced(stores: Stores, tmp_path: Path) -> None:
    deaf = ScriptedModel(always(LONG, hold_after=4))
    async with (
        engine_rig(stores, tmp_path, ScriptedModel(always(LONG))) as other,
        engine_rig(stores, tmp_path, deaf) as owner,
    ):
        new = asked(owner, "Count")
        await owner.start(new)
        await asyncio.wait_for(deaf.holding.wait(), 20)
        owner.engine.stop_claiming()
        # An owner that is alive and deaf.
        owner.engine._keeper.on_cancel(lambda run_id: None)

        await cancel(stores, new, asked_at=other)
        log = await read_all(other.engine.watch(await read_run(stores, new)), timeout_s=ENDED_WITHIN_S)
        deaf.go_on.set()
        await until(lambda: not owner.engine.owns(new.run_id))

        after = await read_all(other.engine.watch(await read_run(stores, new)))

    assert was_cancelled(log)
    assert after == log


async def test_cancel_of_a_run_that_waits_for_a_person_ends_it_at_once(stores: Stores, tmp_path: Path) -> None:
    async with engine_rig(stores, tmp_path, ScriptedModel(always("")), agents=WITH_ASKING) as rig:
        new = asked(rig, "Hi", agent="asking")
        waiting = await rig.answer(new)

        await cancel(stores, new, asked_at=rig)
        acknowledged = time.monotonic()
        async with asyncio.timeout(10):
            while (run := await read_run(stores, new)).status is RunStatus.WAITING:  # noqa: ASYNC110 - a row has no event
                await asyncio.sleep(0.005)
        ended = time.monotonic()
        log = await read_all(rig.engine.watch(run))

    assert kinds(waiting)[-1] == "interrupted"
    assert run.status is RunStatus.CANCELLED
    assert ended - acknowledged < CANCEL_GRACE_S
    assert log[:-1] == waiting
    assert was_cancelled(log)


async def test_cancel_wins_over_too_many_crashes(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    async with AsyncExitStack() as crash:
        dead = await crash.enter_async_context(engine_rig(stores, tmp_path, ScriptedModel(always(LONG, hold_after=4))))
        new = asked(dead, "Count")
        await dead.start(new)
    async with pool.connection() as connection:
        await connection.execute("UPDATE runs SET attempt = 3 WHERE run_id = %s", [new.run_id])

    async with engine_rig(stores, tmp_path, ScriptedModel(always(LONG))) as survivor:
        await cancel(stores, new, asked_at=survivor)
        log = await read_all(survivor.engine.watch(await read_run(stores, new)), timeout_s=ENDED_WITHIN_S)

    assert was_cancelled(log)
