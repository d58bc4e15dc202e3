"""Views of the event log: every reader gets every event once, however slow it is and wherever the run is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import pytest
from flotilla_common.errors import UnavailableError
from flotilla_common.ids import new_id
from flotilla_orchestrator.model import StoredEvent
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.watch import RunView, WatchHub
from flotilla_orchestrator.runs.metrics import RunMetrics
from prometheus_client import CollectorRegistry

CUSTOM = events.custom(data_json=b"{}", namespace="")
DONE = events.done(finish_reason=1, answer={"id": "m", "type": "ai", "content": ""}, usage=())  # type: ignore[arg-type] # the number is enough


class Log:
    """An event log in memory that counts its reads (implements EventReader)."""

    def __init__(self) -> None:
        self.stored: list[StoredEvent] = []
        self.reads = 0
        self.polls: list[Mapping[UUID, int]] = []

    def add(self, run_id: UUID, count: int, *, is_last: bool = False) -> list[StoredEvent]:
        start = len(self.stored)
        payloads = [CUSTOM] * count + [DONE] * is_last
        added = [StoredEvent(run_id, start + place, payload) for place, payload in enumerate(payloads, 1)]
        self.stored += added
        return added

    async def read(self, run_id: UUID, *, after_sequence: int, limit: int = 500) -> Sequence[StoredEvent]:
        self.reads += 1
        await asyncio.sleep(0)
        return [event for event in self.stored if event.sequence > after_sequence][:limit]

    async def read_many(self, positions: Mapping[UUID, int]) -> Sequence[StoredEvent]:
        self.polls.append(dict(positions))
        return [event for event in self.stored if event.sequence > positions.get(event.run_id, 1 << 30)]


def hub_on(log: Log) -> WatchHub:
    return WatchHub(log, metrics=RunMetrics(CollectorRegistry()), poll_interval_s=0.005)


async def numbers(view: RunView, *, pause_s: float = 0.0) -> list[int]:
    found: list[int] = []
    async for stored in view:
        found += [event.sequence for event in stored]
        await asyncio.sleep(pause_s)
    return found


async def test_new_run_is_watched_without_reading_the_database() -> None:
    log, run_id = Log(), new_id()
    hub = hub_on(log)
    with hub.open(run_id, is_new=True) as view:
        hub.deliver(run_id, log.add(run_id, 3))
        hub.deliver(run_id, log.add(run_id, 1, is_last=True))

        assert await numbers(view) == [1, 2, 3, 4, 5]
    assert log.reads == 0


async def test_late_reader_gets_the_past_and_goes_on_live() -> None:
    log, run_id = Log(), new_id()
    hub = hub_on(log)
    log.add(run_id, 3)
    with hub.open(run_id, after_sequence=1) as view:
        reading = asyncio.create_task(numbers(view))
        await asyncio.sleep(0.01)
        hub.deliver(run_id, log.add(run_id, 2, is_last=True))

        assert await reading == [2, 3, 4, 5, 6]


async def test_slow_reader_holds_no_memory_and_misses_nothing() -> None:
    log, run_id = Log(), new_id()
    hub = hub_on(log)
    with hub.open(run_id, is_new=True) as view:
        for _ in range(200):
            hub.deliver(run_id, log.add(run_id, 10))
        hub.deliver(run_id, log.add(run_id, 0, is_last=True))
        held = len(view._watcher._waiting)

        assert await numbers(view) == list(range(1, 2002))
    assert held <= 256
    assert log.reads > 0


async def test_slow_reader_holds_few_large_events() -> None:
    log, run_id = Log(), new_id()
    hub = hub_on(log)
    large = events.custom(data_json=bytes(1_000_000), namespace="")
    with hub.open(run_id, is_new=True) as view:
        for _ in range(10):
            log.stored.append(StoredEvent(run_id, len(log.stored) + 1, large))
            hub.deliver(run_id, log.stored[-1:])
        hub.deliver(run_id, log.add(run_id, 0, is_last=True))
        held = sum(len(event.payload) for event in view._watcher._waiting)

        assert await numbers(view) == list(range(1, 12))
    assert held < 5_000_000


async def test_gap_in_what_is_delivered_is_read_from_the_database() -> None:
    log, run_id = Log(), new_id()
    hub = hub_on(log)
    with hub.open(run_id, is_new=True) as view:
        hub.deliver(run_id, log.add(run_id, 2))
        log.add(run_id, 5)
        hub.deliver(run_id, log.add(run_id, 1, is_last=True))

        assert await numbers(view) == list(range(1, 10))


async def test_ended_run_ends_the_view_also_after_its_last_event() -> None:
    log, run_id = Log(), new_id()
    log.add(run_id, 2, is_last=True)
    with hub_on(log).open(run_id, after_sequence=3, has_ended=True) as view:
        async with asyncio.timeout(10):
            assert await numbers(view) == []


async def test_runs_of_other_processes_are_polled_in_one_query() -> None:
    log, here, there = Log(), new_id(), new_id()
    hub = hub_on(log)
    polling = asyncio.create_task(hub.poll(lambda run_id: run_id == here))
    with hub.open(there) as view, hub.open(here, is_new=True):
        reading = asyncio.create_task(numbers(view))
        await asyncio.sleep(0.02)
        log.add(there, 3, is_last=True)

        assert await asyncio.wait_for(reading, 10) == [1, 2, 3, 4]
    polling.cancel()
    with suppress(asyncio.CancelledError):
        await polling
    assert all(set(positions) == {there} for positions in log.polls)


async def test_cut_view_gives_what_is_in_memory_and_sends_its_reader_elsewhere() -> None:
    log, run_id = Log(), new_id()
    hub = hub_on(log)
    with hub.open(run_id, is_new=True) as view:
        hub.deliver(run_id, log.add(run_id, 2))
        hub.close()

        assert [event.sequence for event in await anext(view)] == [1, 2]
        with pytest.raises(UnavailableError):
            await anext(view)


@pytest.mark.parametrize("seed", range(20))
async def test_every_reader_sees_the_same_whatever_the_owner_is(seed: int) -> None:
    chance = random.Random(seed)
    log, run_id = Log(), new_id()
    hub, is_local = hub_on(log), True
    polling = asyncio.create_task(hub.poll(lambda _: is_local))
    views = [hub.open(run_id, after_sequence=start) for start in (0, 0, 5, 17)]
    readers = [asyncio.create_task(numbers(view, pause_s=chance.random() / 500)) for view in views]

    for _ in range(60):
        is_local = chance.random() < 0.6
        added = log.add(run_id, chance.randint(1, 12))
        if is_local and chance.random() < 0.9:
            hub.deliver(run_id, added)
        await asyncio.sleep(chance.random() / 500)
    is_local = False
    log.add(run_id, 1, is_last=True)
    async with asyncio.timeout(10):
        seen = await asyncio.gather(*readers)

    polling.cancel()
    whole = [event.sequence for event in log.stored]
    assert seen == [whole, whole, whole[5:], whole[17:]]
    for view in views:
        view.close()
