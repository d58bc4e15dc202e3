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
from fakes.runs import checkpoint, finished, new_run
from flotilla_common.errors import ResourceExhaustedError, UnavailableError
from flotilla_common.ids import new_id
from flotilla_orchestrator.model import NewRun, RunStatus, StoredEvent
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import LeaseLostError, RunJournal, Speaker
from flotilla_orchestrator.runs.event_log.store_calls import WriterTimes
from flotilla_orchestrator.runs.event_log.writer import GroupWriter
from flotilla_orchestrator.runs.metrics import RunMetrics
from prometheus_client import CollectorRegistry

ANSWER = Speaker("m1", "agent", "", True)
CUSTOM = events.custom(data_json=b"{}", namespace="")


@dataclass
class FaultyStore:
    """Passes calls on to a store, after the faults that are waiting for the method."""

    stores: Stores
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    poison: UUID | None = None
    """A run whose rows are refused."""
    calls: list[tuple[str, int]] = field(default_factory=list)
    hangs: bool = False
    slow: UUID | None = None
    """A run whose checkpoints take for ever."""

    def __getattr__(self, name: str) -> Any:
        async def call(batch: Sequence[Any], **options: Any) -> Any:
            self.calls.append((name, len(batch)))
            if self.hangs:
                await asyncio.sleep(60)
            if waiting := self.faults.get(name):
                raise waiting.pop(0)
            if any(entry.run_id == self.slow and entry.checkpoints for entry in batch if name != "accept"):
                await asyncio.sleep(60)
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
            journal.emit(CUSTOM)
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
        ended = asyncio.get_running_loop().time()

    assert int(ended) > int(began)
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

        stale.emit(CUSTOM)
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
            journal.emit(CUSTOM)
        await journals[1].commit()

    assert rig.lost == [poison.run_id]
    assert not journals[1].is_lost


async def test_run_whose_rows_take_too_long_holds_up_no_other() -> None:
    async with writing(call_timeout_s=0.05, alone_timeout_s=20) as rig:
        slow, healthy = new_run(), new_run()
        journals = [await rig.begin(slow), await rig.begin(healthy)]
        rig.store.slow = slow.run_id

        journals[0].add_checkpoint(checkpoint(slow))
        for journal in journals:
            journal.emit(CUSTOM)
        async with asyncio.timeout(5):
            await journals[1].commit()
            another = await rig.begin(new_run())
            another.emit(CUSTOM)
            await another.commit()
            assert await rig.writer.finish(journals[1], finished(healthy, 0))
        late = asyncio.create_task(journals[0].commit())
        await asyncio.sleep(0.1)

    assert not late.done()
    assert rig.lost == []


async def test_run_whose_checkpoint_takes_too_long_ends_with_its_events() -> None:
    async with writing(call_timeout_s=0.03, alone_timeout_s=0.03) as rig:
        run = new_run()
        journal = await rig.begin(run)
        rig.store.slow = run.run_id

        journal.add_checkpoint(checkpoint(run))
        journal.emit(CUSTOM)
        async with asyncio.timeout(5):
            with pytest.raises(ResourceExhaustedError, match="too long"):
                await journal.commit()
            journal.emit(CUSTOM)
            assert await rig.writer.finish(journal, finished(run, 0))

    assert [event.sequence for event in rig.delivered] == [1, 2, 3, 4]
    assert rig.lost == []


async def test_end_waits_for_rows_that_are_on_their_way() -> None:
    async with writing(call_timeout_s=0.03, alone_timeout_s=20) as rig:
        run = new_run()
        journal = await rig.begin(run)
        rig.store.faults["append"] = [TimeoutError(), TimeoutError()]

        journal.emit(CUSTOM)
        await until(lambda: rig.store.calls.count(("append", 1)) >= 3)
        ended = await rig.writer.finish(journal, finished(run, 0))

    assert ended
    assert rig.store.calls[-1] == ("finish", 1)
    assert [event.sequence for event in rig.delivered] == [1, 2, 3]


async def test_run_whose_end_takes_too_long_ends_as_failed() -> None:
    async with writing(call_timeout_s=0.03, alone_timeout_s=0.03) as rig:
        run = new_run()
        journal = await rig.begin(run)
        rig.store.slow = run.run_id

        journal.emit(CUSTOM)
        ended = await rig.writer.finish(journal, finished(run, 0, checkpoints=[checkpoint(run)]))
        read = await rig.store.stores.reader.get_run(run.run_id, tenant_id=run.tenant_id, user_id=run.user_id)

    assert ended is not None
    assert ended.status is read.status is RunStatus.FAILED
    assert read.error is not None
    assert read.error.reason == "store_timeout"
    assert decoded(rig.delivered[-1:])[0].failed.error.reason == "store_timeout"
    assert [event.sequence for event in rig.delivered] == [1, 2, 3]


async def test_database_that_hangs_ends_no_run() -> None:
    async with writing(call_timeout_s=0.02, alone_timeout_s=0.02) as rig:
        runs = [new_run() for _ in range(3)]
        journals = [await rig.begin(run) for run in runs]
        rig.store.hangs = True

        for journal, run in zip(journals, runs, strict=True):
            journal.add_checkpoint(checkpoint(run))
            journal.emit(CUSTOM)
        await asyncio.sleep(1)
        rig.store.hangs = False
        async with asyncio.timeout(5):
            await asyncio.gather(*(journal.commit() for journal in journals))

    assert rig.lost == []
    assert len(rig.delivered) == 6


async def test_lease_that_ends_ends_the_waiting() -> None:
    async with writing(call_timeout_s=0.02, alone_timeout_s=0.02) as rig:
        journal = await rig.begin(new_run())
        rig.store.hangs = True

        journal.emit(CUSTOM)
        waiting = asyncio.create_task(journal.commit())
        await asyncio.sleep(0.2)
        journal.lose()
        with pytest.raises(LeaseLostError):
            await asyncio.wait_for(waiting, 5)


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
