"""The group writer: one flush loop on one clock for all runs of the process; events are stored here, then sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from flotilla_common.errors import DeadlineExceededError, UnavailableError

from flotilla_orchestrator.model import FinishedRun, NewRun, StoredEvent
from flotilla_orchestrator.runs.event_log.entries import Append, Deliver, Entry, Finish
from flotilla_orchestrator.runs.event_log.journal import RunJournal
from flotilla_orchestrator.runs.event_log.lone_writer import LoneWriter
from flotilla_orchestrator.runs.event_log.store_calls import FIRST_PAUSE_S, StoreCalls, WriterTimes
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.stores.run_store import RunStore

_AWAY = (UnavailableError, DeadlineExceededError, TimeoutError)


@dataclass(frozen=True, slots=True)
class _Accept:
    run: NewRun
    begin: Callable[[float], None]
    done: asyncio.Future[bool]


class GroupWriter:
    """Stores what all runs of this process write, together, and hands what is stored to the local watchers."""

    def __init__(
        self,
        store: RunStore,
        *,
        owner: UUID,
        deliver: Deliver,
        metrics: RunMetrics,
        times: WriterTimes,
        drop_expired: Callable[[], None] = lambda: None,
    ) -> None:
        self._calls = StoreCalls(store, owner, times, metrics, drop_expired)
        self._deliver = deliver
        self._metrics = metrics
        self._times = times
        self._drop_expired = drop_expired
        self._work = asyncio.Event()
        self._alone = LoneWriter(self._calls, deliver=deliver, on_settled=self._work.set)
        self._timer: asyncio.TimerHandle | None = None
        self._dirty: dict[RunJournal, None] = {}
        self._accepts: list[_Accept] = []
        self._finishes: list[Finish] = []

    async def run(self) -> None:
        """Flushes until it is cancelled."""
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                await self._flush()
        finally:
            self._alone.stop()

    def attach(self, journal: RunJournal, *, on_lost: Callable[[], None]) -> None:
        """Makes a journal's events and checkpoints part of the flushes."""
        journal.attach(wake=partial(self._wake, journal), tick=partial(self._tick, journal), on_lost=on_lost)

    async def accept(self, run: NewRun, *, begin: Callable[[float], None]) -> bool:
        """Stores a new run; returns False when it met a twin, a busy thread or no thread.

        begin: called as soon as the run is stored, also when nobody waits any more, with the time.monotonic() from
        which the lease counts.

        Raises UnavailableError when the database does not answer in time: then nothing was promised.
        """
        request = _Accept(run, begin, asyncio.get_running_loop().create_future())
        self._accepts.append(request)
        self._work.set()
        try:
            async with asyncio.timeout(self._times.accept_timeout_s):
                return await request.done
        except TimeoutError as error:
            raise UnavailableError("The database does not answer.", reason="database", retry_after_s=2) from error

    async def finish(self, journal: RunJournal, end: FinishedRun) -> FinishedRun | None:
        """Ends a run with everything its journal still holds; returns its end, or None when it was not ours any more.

        `end.terminal_event` is numbered here, after the events before it. A run whose end takes too long to be stored
        ends as failed.
        """
        request = Finish(journal, end, asyncio.get_running_loop().create_future())
        self._finishes.append(request)
        self._work.set()
        return await request.done

    def _wake(self, journal: RunJournal) -> None:
        self._dirty[journal] = None
        self._work.set()

    def _tick(self, journal: RunJournal) -> None:
        self._dirty[journal] = None
        if self._timer is None:
            loop, interval = asyncio.get_running_loop(), self._times.flush_interval_s
            self._timer = loop.call_at((loop.time() // interval + 1) * interval, self._beat)

    def _beat(self) -> None:
        self._timer = None
        self._work.set()

    async def _flush(self) -> None:
        """Writes what waits: accepts, appends and finishes are one store call each, side by side."""
        self._drop_expired()
        began = time.perf_counter()
        calls: list[Coroutine[Any, Any, None]] = []
        # They take what their journals still hold, which is then no append's any more.
        finishes = self._take_finishes()
        if accepts := self._take_accepts():
            calls.append(self._store_accepts(accepts))
        if appends := self._take_appends():
            calls.append(self._store_appends(appends))
        if finishes:
            calls.append(self._store_finishes(finishes))
        if len(calls) == 1:
            await calls[0]
        elif calls:
            await asyncio.gather(*calls)
        self._metrics.flush_seconds.observe(time.perf_counter() - began)

    def _take_accepts(self) -> list[_Accept]:
        waiting, self._accepts = self._accepts, []
        return [request for request in waiting if not request.done.done()]

    def _take_appends(self) -> list[Append]:
        dirty, self._dirty = self._dirty, {}
        free = [journal for journal in dirty if not journal.is_lost and not self._keep(journal)]
        return [Append(journal, journal.take()) for journal in free]

    def _keep(self, journal: RunJournal) -> bool:
        """Keeps for later what comes after rows that are still on their way."""
        is_held = self._alone.holds(journal)
        if is_held:
            self._dirty[journal] = None
        return is_held

    def _take_finishes(self) -> list[Finish]:
        waiting, self._finishes = self._finishes, []
        self._finishes = [request for request in waiting if self._alone.holds(request.journal)]
        ready = [request for request in waiting if not self._alone.holds(request.journal)]
        for request in ready:
            self._dirty.pop(request.journal, None)
            request.fill()
        return ready

    async def _store_accepts(self, requests: list[_Accept]) -> None:
        """Stores new runs; an outage refuses them all at once, anything else is found run by run."""
        since = time.monotonic()
        try:
            accepted = await self._calls.accept([request.run for request in requests])
        except _AWAY as error:
            for request in requests:
                _refuse(request.done, _unavailable(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, only the run at fault may bear it
            await self._accept_one_by_one(requests, error)
        else:
            for request in requests:
                run = request.run
                if run.run_id in accepted:
                    self._deliver(run.run_id, [StoredEvent(run.run_id, 1, run.accepted_event)])
                    request.begin(since)
                if not request.done.done():
                    request.done.set_result(run.run_id in accepted)

    async def _accept_one_by_one(self, requests: list[_Accept], error: Exception) -> None:
        """Repeats a refused batch run by run, so that one bad row harms no neighbour."""
        self._metrics.flush_failures.inc()
        if len(requests) == 1:
            _refuse(requests[0].done, error)
            return
        for request in requests:
            await self._store_accepts([request])

    async def _store_appends(self, appends: list[Append]) -> None:
        """Stores events, checkpoints and writes.

        While the database is away it tries again until the leases end. Whatever else a call fails with, too long a
        time among it, may be one run's fault: then each run's rows go on alone, and the next flush waits for none.
        """
        pause_s = FIRST_PAUSE_S
        while appends := [entry for entry in appends if not entry.is_over()]:
            batch = [entry.flush.append for entry in appends if entry.has_rows]
            try:
                owned = await self._calls.append(batch) if batch else set()
            except UnavailableError:
                pause_s = await self._calls.back_off(pause_s)
            except Exception:  # noqa: BLE001 - whatever it was, only the run at fault may bear it
                self._part(appends)
                return
            else:
                self._metrics.flush_events.observe(sum(len(append.events) for append in batch))
                for entry in appends:
                    is_ours = not entry.has_rows or entry.journal.run_id in owned
                    entry.settle(is_ours=is_ours, deliver=self._deliver)
                return

    async def _store_finishes(self, finishes: list[Finish]) -> None:
        """Ends runs, with the same patience."""
        pause_s = FIRST_PAUSE_S
        while finishes := [entry for entry in finishes if not entry.is_over()]:
            try:
                ended = await self._calls.finish([entry.end for entry in finishes])
            except UnavailableError:
                pause_s = await self._calls.back_off(pause_s)
            except Exception:  # noqa: BLE001 - whatever it was, only the run at fault may bear it
                self._part(finishes)
                return
            else:
                for entry in finishes:
                    entry.settle(is_ours=entry.end.run_id in ended, deliver=self._deliver)
                return

    def _part(self, entries: Sequence[Entry]) -> None:
        """Has each run's rows written alone."""
        self._metrics.flush_failures.inc()
        for entry in entries:
            self._alone.write(entry)


def _refuse(waiter: asyncio.Future[bool], error: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(error)


def _unavailable(error: Exception) -> UnavailableError:
    if isinstance(error, UnavailableError):
        return error
    return UnavailableError("The database does not answer.", reason="database", retry_after_s=2)
