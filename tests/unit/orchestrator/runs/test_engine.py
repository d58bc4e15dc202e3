"""Whole runs on stores in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from fakes.model_script import Reply, ScriptedModel, always, in_turn
from fakes.run_engine import asked, engine_rig, is_dense, kinds, read_all, read_run, text_of, until
from fakes.run_stores import InMemoryTime, stores_in_memory
from flotilla_common.identity import Identity
from flotilla_common.ids import new_id
from flotilla_orchestrator.model import NewRun, RunStatus
from flotilla_orchestrator.runs.event_log.past import LoggedPast
from flotilla_orchestrator.stores.in_memory.run_store import InMemoryRunStore
from flotilla_orchestrator.stores.in_memory.state import InMemoryState


class HeldStore(InMemoryRunStore):
    """Accepts runs when it is told to."""

    def __init__(self, state: InMemoryState) -> None:
        super().__init__(state)
        self.gate = asyncio.Event()

    async def accept(self, runs: Sequence[NewRun], *, owner: UUID) -> set[UUID]:
        await self.gate.wait()
        return await super().accept(runs, owner=owner)


async def test_plain_run_streams_its_answer_and_ends(tmp_path: Path) -> None:
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always("Hello to you my friend"))) as rig:
        log = await rig.answer(asked(rig, "Hi"))

    assert is_dense(log)
    assert kinds(log)[:2] == ["accepted", "message"]
    assert kinds(log)[-2:] == ["message", "done"]
    assert text_of(log) == "Hello to you my friend"
    assert log[-1].done.answer.content == "Hello to you my friend"
    assert log[-1].done.usage[0].output_tokens == 5


async def test_tool_calls_are_invoked_and_answered(tmp_path: Path) -> None:
    model = ScriptedModel(in_turn(Reply(calls=[("calculator", '{"x": 1}')]), Reply("It is 1.")))
    async with engine_rig(stores_in_memory(), tmp_path, model) as rig:
        new = asked(rig, "What is 1?", agent="worker")
        log = await rig.answer(new)

    assert is_dense(log)
    assert rig.tools.invoked[0].tool_call_id == f"call_{new.run_id.hex}_1"
    assert kinds(log).count("tool") == 2
    assert "state" in kinds(log)
    assert log[-1].done.answer.content == "It is 1."
    assert log[-1].done.usage[0].input_tokens == 20


async def test_memory_is_asked_once_and_before_the_run_is_accepted(tmp_path: Path) -> None:
    stores = stores_in_memory()
    assert isinstance(stores.time, InMemoryTime)
    held = HeldStore(stores.time.state)
    async with engine_rig(stores, tmp_path, ScriptedModel(always("Hello")), runs=held) as rig:
        new = asked(rig, "Hi")
        answer = asyncio.create_task(rig.answer(new))
        await until(lambda: bool(rig.memory.questions))
        assert not answer.done()
        held.gate.set()
        await answer

    assert rig.memory.questions == ["Hi"]
    # For the person and not for the run, so that the same token serves the next question.
    assert rig.memory.identities[0] == Identity(new.tenant_id, new.user_id)


async def test_run_that_is_accepted_while_the_process_drains_is_handed_back(tmp_path: Path) -> None:
    stores = stores_in_memory()
    assert isinstance(stores.time, InMemoryTime)
    held = HeldStore(stores.time.state)
    async with engine_rig(stores, tmp_path, ScriptedModel(always("Hello")), runs=held) as rig:
        new = asked(rig, "Hi")
        start = asyncio.create_task(rig.start(new))
        await until(lambda: bool(rig.memory.questions))
        rig.engine.stop_claiming()
        held.gate.set()
        await start
        await rig.engine.drain()
        claimed = await stores.runs.claim(owner=new_id(), limit=1)

    assert [(run.run_id, run.attempt) for run in claimed] == [(new.run_id, 1)]


async def test_claimed_run_is_handed_back_when_the_process_drains_meanwhile(tmp_path: Path) -> None:
    stores = stores_in_memory()
    async with engine_rig(stores, tmp_path, ScriptedModel(always("Hello"))) as rig:
        new = asked(rig, "Hi")
        await stores.runs.accept([new], owner=new_id())
        await stores.time.pass_by(timedelta(seconds=7))
        rig.engine.stop_claiming()
        [claimed] = await stores.runs.claim(owner=rig.owner, limit=1)

        await rig.engine.resume(claimed, rig.catalogue.resolve("plain"), LoggedPast(), since=time.monotonic())
        [next_claim] = await stores.runs.claim(owner=new_id(), limit=1)

    assert not rig.engine.owns(new.run_id)
    assert (next_claim.epoch, next_claim.attempt) == (3, 2)


async def test_run_whose_log_cannot_be_read_is_given_up(tmp_path: Path) -> None:
    stores = stores_in_memory()
    async with engine_rig(stores, tmp_path, ScriptedModel(always("Hello"))) as rig:
        new = replace(asked(rig, "Hi"), accepted_event=b"of another version")
        await stores.runs.accept([new], owner=new_id())
        with rig.engine.watch(await read_run(stores, new), after_sequence=1) as view:
            reading = asyncio.create_task(read_all(view))
            for _ in range(4):
                await stores.time.pass_by(timedelta(seconds=7))
                await asyncio.sleep(0.3)
            log = await reading
        run = await read_run(stores, new)

    assert log[-1].failed.error.reason == "crashed_too_often"
    assert run.status is RunStatus.DEAD_LETTERED
