"""Leases are kept whatever the event loop does, and given up in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from fakes.run_engine import until
from flotilla_common.errors import UnavailableError
from flotilla_common.ids import new_id
from flotilla_orchestrator.runs.lease import LeaseKeeper, LeaseTimes


class Beats:
    """What the keeper asks of the store, answered as a test says."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.cancelled: set[UUID] = set()
        self.gone: set[UUID] = set()
        self.is_away = False

    async def beat(self, runs: Mapping[UUID, int], *, owner: UUID) -> Mapping[UUID, bool]:
        if self.is_away:
            raise UnavailableError("away")
        owned = {run_id: False for run_id in runs if run_id not in self.gone}
        self.times.append(time.monotonic())
        return owned

    async def cancel_requests(self, runs: Sequence[UUID]) -> set[UUID]:
        return self.cancelled & set(runs)


class Keeping:
    """A keeper, and what it told."""

    def __init__(self, keeper: LeaseKeeper, beats: Beats) -> None:
        self.keeper = keeper
        self.beats = beats
        self.lost: list[tuple[UUID, int]] = []
        self.cancelled: list[UUID] = []
        keeper.on_lost(lambda run_id, epoch: self.lost.append((run_id, epoch)))
        keeper.on_cancel(self.cancelled.append)


@asynccontextmanager
async def keeping(*, lease_s: float = 6.0, margin_s: float = 0.05) -> AsyncIterator[Keeping]:
    beats = Beats()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Beats]:
        yield beats

    times = LeaseTimes(lease_s=lease_s, beat_interval_s=0.05, cancel_interval_s=0.02, margin_s=margin_s)
    keeper = LeaseKeeper(opened, owner=new_id(), times=times)  # type: ignore[arg-type] # a keeper needs two methods only
    kept = Keeping(keeper, beats)
    keeper.start()
    try:
        yield kept
    finally:
        await keeper.stop()


async def test_beats_go_on_while_the_event_loop_is_blocked() -> None:
    async with keeping(lease_s=1.0) as kept:
        run_id = new_id()
        kept.keeper.hold(run_id, 1, since=time.monotonic())
        began = time.monotonic()

        time.sleep(1.5)  # noqa: ASYNC251 - blocking the loop is what is tested

        during = [moment for moment in kept.beats.times if began < moment < began + 1.5]
        assert len(during) >= 4
        assert kept.keeper.has_lease(run_id, 1)
    assert kept.lost == []


async def test_run_is_given_up_before_its_lease_ends_when_beats_fail() -> None:
    async with keeping(lease_s=2.5, margin_s=2.0) as kept:
        run_id, since = new_id(), time.monotonic()
        kept.beats.is_away = True
        kept.keeper.hold(run_id, 1, since=since)

        await until(lambda: bool(kept.lost))

        assert not kept.keeper.has_lease(run_id, 1)
        assert time.monotonic() - since < 2.5
    assert set(kept.lost) == {(run_id, 1)}


async def test_run_missed_once_is_kept_and_missed_twice_is_lost() -> None:
    async with keeping() as kept:
        run_id = new_id()
        kept.keeper.hold(run_id, 1, since=time.monotonic())
        await until(lambda: len(kept.beats.times) > 1)

        seen = len(kept.beats.times)
        kept.beats.gone = {run_id}
        await until(lambda: bool(kept.lost))

        assert len(kept.beats.times) >= seen + 2


async def test_cancel_requests_are_found_between_beats() -> None:
    async with keeping() as kept:
        run_id = new_id()
        kept.keeper.hold(run_id, 1, since=time.monotonic())
        kept.beats.cancelled = {run_id}

        await until(lambda: run_id in kept.cancelled)


async def test_process_that_was_stopped_gives_up_at_its_first_look() -> None:
    async with keeping() as kept:
        run_id = new_id()

        kept.keeper.hold(run_id, 1, since=time.monotonic() - 20)
        kept.keeper.drop_expired()

        assert (run_id, 1) in kept.lost
        assert not kept.keeper.has_lease(run_id, 1)
