"""The group writer over a store that counts, fails and hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from fakes.run_engine import decoded, until
from fakes.run_stores import Stores, stores_in_memory
from fakes.runs import finished, new_run
from flotilla_common.errors import UnavailableError
from flotilla_common.ids import new_id
from flotilla_orchestrator.model import NewRun, StoredEvent
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import LeaseLostError, RunJournal, Speaker
from flotilla_orchestrator.runs.event_log.writer import GroupWriter, WriterTimes
from flotilla_orchestrator.runs.metrics import RunMetrics
from prometheus_client import CollectorRegistry

ANSWER = Speaker("m1", "agent", "", True)


@dataclass
class FaultyStore:
    """Passes calls on to a store, after the faults that are waiting for the method."""

    stores: Stores
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    poison: UUID | None = None
    """A run whose rows are refused."""
    calls: list[tuple[str, int]] = field(default_factory=list)
    hangs: bool = False

    def __getattr__(self, name: str) -> Any:
        async def call(batch: Sequence[Any], **options: Any) -> Any:
            self.calls.append((name, len(batch)))
            if self.hangs:
                await asyncio.sleep(60)
            if waiting := self.faults.get(name):
                raise waiting.pop(0)
            if any(entry.run_id == self.poison for entry in batch):
                raise ValueError("bad row")
            return await getattr(self.stores.runs, name)(batch, **options)

        return call


@dataclass
class WriterRig:
    writer: GroupWriter
    store: FaultyStore
    owner: UUID
    delivered: list[StoredEvent] = field(default_factory=list)
    lost: list[UUID] = field(default_factory=list)

    async def begin(self, run: NewRun) -> RunJournal:
        """Accepts a run and returns its journal."""
        assert await self.writer.accept(run, begin=lambda since: None)
        return self.attach(run)

    def attach(self, run: NewRun, *, epoch: int = 1) -> RunJournal:
        journal = RunJournal(run.run_id, epoch, last_sequence=1)
        self.writer.attach(journal, on_lost=lambda: self.lost.append(run.run_id))
        return journal


@asynccontextmanager
async def writing(**times: float) -> AsyncIterator[WriterRig]:
    delivered: list[StoredEvent] = []
    store, owner = FaultyStore(stores_in_memory()), new_id()
    writer = GroupWriter(
        store,
        owner=owner,
        deliver=lambda run_id, stored: delivered.extend(stored),
        metrics=RunMetrics(CollectorRegistry()),
        times=WriterTimes(**times),
    )
    task = asyncio.create_task(writer.run())
    try:
        yield WriterRig(writer, store, owner, delivered)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_starts_that_wait_together_share_one_store_call() -> None:
    async with writing() as rig:
        begun: list[float] = []
        accepted = await asyncio.gather(*(rig.writer.accept(new_run(), begin=begun.append) for _ in range(20)))

    assert accepted == [True] * 20
    assert len(begun) == 20
    assert rig.store.calls == [("accept", 20)]
    assert len(rig.delivered) == 20


async def test_events_of_many_runs_share_one_store_call_and_are_stored_before_they_are_delivered() -> None:
    async with writing() as rig:
        journals = [await rig.begin(new_run()) for _ in range(5)]
        rig.store.calls.clear()
        rig.delivered.clear()

        for journal in journals:
            journal.emit(events.custom(data_json=b"{}", namespace=""))
        assert rig.delivered == []
        await journals[-1].commit()

    assert rig.store.calls == [("append", 5)]
    assert len(rig.delivered) == 5


async def test_tokens_wait_for_the_clock_and_the_first_does_not() -> None:
    async with writing(flush_interval_s=1.0) as rig:
        journal = await rig.begin(new_run())
        rig.delivered.clear()

        journal.token(ANSWER, "a")
        await until(lambda: len(rig.delivered) == 1)
        began = asyncio.get_running_loop().time()
        for _ in range(10):
            journal.token(ANSWER, "b")
        await until(lambda: len(rig.delivered) == 2)
        waited_s = asyncio.get_running_loop().time() - began

    assert waited_s > 0.1
    assert [event.token.text for event in decoded(rig.delivered)] == ["a", "b" * 10]


async def test_outage_is_waited_out_without_a_gap() -> None:
    async with writing() as rig:
        journal = await rig.begin(new_run())
        rig.store.faults["append"] = [UnavailableError("away"), TimeoutError()]

        journal.emit(events.custom(data_json=b"1", namespace=""))
        journal.token(ANSWER, "a")
        async with asyncio.timeout(5):
            await journal.commit()

    assert [event.sequence for event in rig.delivered] == [1, 2, 3]
    assert rig.lost == []


async def test_start_is_refused_when_the_database_is_away() -> None:
    async with writing() as rig:
        rig.store.faults["accept"] = [UnavailableError("away")]

        with pytest.raises(UnavailableError):
            await rig.writer.accept(new_run(), begin=lambda since: None)


async def test_start_is_refused_in_time_when_the_database_hangs() -> None:
    async with writing(accept_timeout_s=0.05) as rig:
        rig.store.hangs = True

        with pytest.raises(UnavailableError):
            await rig.writer.accept(new_run(), begin=lambda since: None)


async def test_stale_epoch_loses_its_run_and_delivers_nothing() -> None:
    async with writing() as rig:
        run = new_run()
        await rig.begin(run)
        stale = rig.attach(run, epoch=7)
        rig.delivered.clear()

        stale.emit(events.custom(data_json=b"{}", namespace=""))
        with pytest.raises(LeaseLostError):
            await stale.commit()

    assert rig.lost == [run.run_id]
    assert rig.delivered == []


async def test_bad_row_stops_only_its_own_run() -> None:
    async with writing() as rig:
        poison, healthy = new_run(), new_run()
        journals = [await rig.begin(poison), await rig.begin(healthy)]
        rig.store.poison = poison.run_id

        for journal in journals:
            journal.emit(events.custom(data_json=b"{}", namespace=""))
        await journals[1].commit()

    assert rig.lost == [poison.run_id]
    assert not journals[1].is_lost


async def test_finish_writes_what_the_journal_still_holds_before_the_last_event() -> None:
    async with writing(flush_interval_s=5) as rig:
        run = new_run()
        journal = await rig.begin(run)
        journal.token(ANSWER, "first")
        await journal.commit()
        journal.token(ANSWER, "rest")

        assert await rig.writer.finish(journal, finished(run, 0))

    assert [event.sequence for event in rig.delivered] == [1, 2, 3, 4]
    assert rig.delivered[-1].payload == b"done"


async def test_finish_of_a_run_that_is_not_ours_ends_nothing() -> None:
    async with writing() as rig:
        run = new_run()
        await rig.begin(run)
        stale = rig.attach(run, epoch=2)

        has_ended = await rig.writer.finish(stale, finished(run, 0, epoch=2))

    assert not has_ended
    assert rig.lost == [run.run_id]
