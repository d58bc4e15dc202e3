"""What finished runs leave is sent at least once, however long a peer is away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from fakes.model_script import ScriptedModel, always
from fakes.peers import FakeMemory
from fakes.run_engine import asked, engine_rig, until
from fakes.run_stores import stores_in_memory
from fakes.runs import finished, new_run
from flotilla.evaluator.v1 import evaluator_service_pb2 as evaluator
from flotilla.memory.v1 import memory_service_pb2 as memory
from flotilla_common.errors import InvalidArgumentError
from flotilla_common.ids import new_id
from flotilla_orchestrator.model import NewRun, OutboxEntry, OutboxKind
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.runs.outbox import OutboxRelay, retry_delay_s
from flotilla_orchestrator.stores.run_store import RunStore
from prometheus_client import CollectorRegistry


async def leave(store: RunStore, payload: bytes) -> NewRun:
    """Ends a run that leaves one entry."""
    run, owner = new_run(), new_id()
    await store.accept([run], owner=owner)
    end = finished(run, 2, outbox=[OutboxEntry(OutboxKind.COMMIT_TURN, payload)])
    assert await store.finish([end], owner=owner)
    return run


async def test_finished_run_is_told_to_memory_and_evaluator(tmp_path: Path) -> None:
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always("Hello there"))) as rig:
        new = asked(rig, "Hi")
        await rig.answer(new)
        await until(lambda: bool(rig.memory.turns and rig.evaluator.observed))

    turn = memory.CommitTurnRequest.FromString(rig.memory.turns[0])
    observation = evaluator.ObserveRequest.FromString(rig.evaluator.observed[0]).observation
    assert UUID(turn.run_id) == new.run_id
    assert turn.thread_id == ""
    assert [message.content for message in turn.messages] == ["Hi", "Hello there"]
    assert [message.content for message in observation.messages] == ["Hi", "Hello there"]
    assert observation.usage[0].output_tokens == 2
    assert {identity.run_id for identity in rig.memory.identities} == {new.run_id}


async def test_entry_waits_for_a_peer_that_is_away(tmp_path: Path) -> None:
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always("Hello"))) as rig:
        rig.memory.is_away = True
        log = await rig.answer(asked(rig, "Hi"))
        await until(lambda: len(rig.memory.identities) > 2)

        rig.memory.is_away = False
        await until(lambda: bool(rig.memory.turns), timeout_s=2)

    assert log[-1].HasField("done")


async def test_entry_that_is_refused_for_good_is_settled() -> None:
    stores = stores_in_memory()
    await leave(stores.runs, b"bad")
    sent: list[bytes] = []

    async def refuse(payload: bytes) -> None:
        sent.append(payload)
        raise InvalidArgumentError("no")

    relay = OutboxRelay(stores.runs, {OutboxKind.COMMIT_TURN: refuse}, metrics=RunMetrics(CollectorRegistry()))
    await relay.relay_once()
    await stores.time.pass_by(timedelta(hours=1))
    await relay.relay_once()

    assert sent == [b"bad"]


async def test_entries_are_sent_side_by_side() -> None:
    stores, peer = stores_in_memory(), FakeMemory()
    for _ in range(20):
        await leave(stores.runs, b"turn")
    together = most = 0

    async def send(payload: bytes) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.01)
        await peer.commit_turn(payload)
        together -= 1

    relay = OutboxRelay(stores.runs, {OutboxKind.COMMIT_TURN: send}, metrics=RunMetrics(CollectorRegistry()))
    await relay.relay_once()

    assert len(peer.turns) == 20
    assert 1 < most <= 16


@pytest.mark.parametrize(("attempts", "longest_s"), [(1, 0.25), (5, 2), (59, 2), (100, 20)])
def test_retries_come_back_within_two_seconds_for_a_while(attempts: int, longest_s: float) -> None:
    assert 0 < retry_delay_s(attempts) <= longest_s
