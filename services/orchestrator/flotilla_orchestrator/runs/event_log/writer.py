"""The group writer: one flush loop on one clock for all runs of the process; events are stored here, then sent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from flotilla_common.errors import DeadlineExceededError, UnavailableError

from flotilla_orchestrator.model import FinishedRun, NewRun, StoredEvent
from flotilla_orchestrator.runs.event_log.journal import Flush, RunJournal
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.stores.run_store import RunStore

Deliver = Callable[[UUID, Sequence[StoredEvent]], None]
T = TypeVar("T")

_log = logging.getLogger(__name__)
_AWAY = (UnavailableError, DeadlineExceededError, TimeoutError)
_RETRY_FIRST_S, _RETRY_MOST_S = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class WriterTimes:
    """How the writer keeps time."""

    flush_interval_s: float = 0.025
    """The clock that coalesces tokens."""
    call_timeout_s: float = 2.0
    """How long one store call may take before it counts as failed."""
    accept_timeout_s: float = 5.0
    """How long a start may wait for the database before it is refused."""


@dataclass(frozen=True, slots=True)
class _Accept:
    run: NewRun
    begin: Callable[[float], None]
    done: asyncio.Future[bool]


@dataclass(slots=True)
class _Finish:
    journal: RunJournal
    end: FinishedRun
    flush: Flush
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
        times: WriterTimes = WriterTimes(),
        drop_expired: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._owner = owner
        self._deliver = deliver
        self._metrics = metrics
        self._times = times
        self._drop_expired = drop_expired
        self._work = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._dirty: dict[RunJournal, None] = {}
        self._accepts: list[_Accept] = []
        self._finishes: list[_Finish] = []

    async def run(self) -> None:
        """Flushes until it is cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self._flush()

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

    async def finish(self, journal: RunJournal, end: FinishedRun) -> bool:
        """Ends a run with everything its journal still holds; returns False when the run was not ours any more.

        `end.terminal_event` is numbered here, after the events before it.
        """
        self._dirty.pop(journal, None)
        flush = journal.take()
        numbered = replace(
            end,
            events=flush.append.events,
            checkpoints=[*flush.append.checkpoints, *end.checkpoints],
            writes=flush.append.writes,
            terminal_event=journal.last(end.terminal_event.payload),
        )
        request = _Finish(journal, numbered, flush, asyncio.get_running_loop().create_future())
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
        if accepts := self._take_accepts():
            calls.append(self._store_accepts(accepts))
        if flushes := self._take_flushes():
            calls.append(self._store_appends(flushes))
        if finishes := self._take_finishes():
            calls.append(self._store_finishes(finishes))
        if len(calls) == 1:
            await calls[0]
        elif calls:
            await asyncio.gather(*calls)
        self._metrics.flush_seconds.observe(time.perf_counter() - began)

    def _take_accepts(self) -> list[_Accept]:
        waiting, self._accepts = self._accepts, []
        return [request for request in waiting if not request.done.done()]

    def _take_flushes(self) -> list[tuple[RunJournal, Flush]]:
        dirty, self._dirty = self._dirty, {}
        return [(journal, journal.take()) for journal in dirty if not journal.is_lost]

    def _take_finishes(self) -> list[_Finish]:
        waiting, self._finishes = self._finishes, []
        return waiting

    async def _store_accepts(self, requests: list[_Accept]) -> None:
        """Stores new runs; an outage refuses them all at once, anything else is found run by run."""
        since = time.monotonic()
        try:
            accepted = await self._call(self._store.accept([request.run for request in requests], owner=self._owner))
        except _AWAY as error:
            for request in requests:
                _refuse(request.done, _unavailable(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, only the run at fault may bear it
            await self._one_by_one(requests, self._store_accepts, error, lambda request: request.done)
        else:
            for request in requests:
                run = request.run
                if run.run_id in accepted:
                    self._deliver(run.run_id, [StoredEvent(run.run_id, 1, run.accepted_event)])
                    request.begin(since)
                if not request.done.done():
                    request.done.set_result(run.run_id in accepted)

    async def _store_appends(self, flushes: list[tuple[RunJournal, Flush]]) -> None:
        """Stores events, checkpoints and writes; while the database is away, tries again until the leases end."""
        delay_s = _RETRY_FIRST_S
        while flushes := [(journal, flush) for journal, flush in flushes if not journal.is_lost]:
            batch = [flush.append for _, flush in flushes if flush.append.events or _has_state(flush)]
            try:
                owned = await self._call(self._store.append(batch)) if batch else set()
            except _AWAY:
                delay_s = await self._back_off(delay_s)
                continue
            except Exception as error:  # noqa: BLE001 - whatever it was, only the run at fault may bear it
                await self._append_one_by_one(flushes, error)
                return
            self._metrics.flush_events.observe(sum(len(append.events) for append in batch))
            for journal, flush in flushes:
                self._settle_append(journal, flush, is_owned=journal.run_id in owned)
            return

    def _settle_append(self, journal: RunJournal, flush: Flush, *, is_owned: bool) -> None:
        has_written = bool(flush.append.events) or _has_state(flush)
        if has_written and not is_owned:
            journal.lose()
        elif flush.append.events and not journal.is_lost:
            self._deliver(journal.run_id, flush.append.events)
        journal.settle(flush)

    async def _append_one_by_one(self, flushes: list[tuple[RunJournal, Flush]], error: Exception) -> None:
        """Finds the run whose rows the database refuses; only that one is stopped."""
        if len(flushes) > 1:
            for pair in flushes:
                await self._store_appends([pair])
            return
        journal, flush = flushes[0]
        _log.error("a run's events cannot be stored", extra={"run_id": str(journal.run_id)}, exc_info=error)
        journal.lose()
        journal.settle(flush)

    async def _store_finishes(self, requests: list[_Finish]) -> None:
        """Ends runs; while the database is away, tries again until the leases end."""
        delay_s = _RETRY_FIRST_S
        while requests := [request for request in requests if not _is_given_up(request)]:
            try:
                ended = await self._call(self._store.finish([request.end for request in requests], owner=self._owner))
            except _AWAY:
                delay_s = await self._back_off(delay_s)
                continue
            except Exception as error:  # noqa: BLE001 - whatever it was, only the run at fault may bear it
                await self._one_by_one(requests, self._store_finishes, error, lambda request: request.done)
                return
            for request in requests:
                self._settle_finish(request, has_ended=request.end.run_id in ended)
            return

    def _settle_finish(self, request: _Finish, *, has_ended: bool) -> None:
        if has_ended:
            self._deliver(request.end.run_id, [*request.end.events, request.end.terminal_event])
        else:
            request.journal.lose()
        request.journal.settle(request.flush)
        if not request.done.done():
            request.done.set_result(has_ended)

    async def _one_by_one(
        self,
        requests: list[T],
        store: Callable[[list[T]], Awaitable[None]],
        error: Exception,
        future: Callable[[T], asyncio.Future[bool]],
    ) -> None:
        """Repeats a refused batch request by request, so that one bad row harms no neighbour."""
        self._metrics.flush_failures.inc()
        if len(requests) == 1:
            _refuse(future(requests[0]), error)
            return
        for request in requests:
            await store([request])

    async def _call(self, call: Coroutine[Any, Any, set[UUID]]) -> set[UUID]:
        async with asyncio.timeout(self._times.call_timeout_s):
            return await call

    async def _back_off(self, delay_s: float) -> float:
        self._metrics.flush_failures.inc()
        await asyncio.sleep(delay_s)
        self._drop_expired()
        return min(2 * delay_s, _RETRY_MOST_S)


def _has_state(flush: Flush) -> bool:
    return bool(flush.append.checkpoints or flush.append.writes)


def _is_given_up(request: _Finish) -> bool:
    """A run whose lease ended while its finish waited is finished by its next owner."""
    if request.journal.is_lost and not request.done.done():
        request.done.set_result(False)
    return request.done.done()


def _refuse(waiter: asyncio.Future[bool], error: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(error)


def _unavailable(error: Exception) -> UnavailableError:
    if isinstance(error, UnavailableError):
        return error
    return UnavailableError("The database does not answer.", reason="database", retry_after_s=2)
