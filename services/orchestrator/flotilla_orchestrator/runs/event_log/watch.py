"""Views of the event log: from memory for runs of this process, by one batched query for the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

from flotilla_common.errors import FlotillaError, UnavailableError

from flotilla_orchestrator.model import StoredEvent
from flotilla_orchestrator.runs.event_log.events import ends_the_log
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.stores.run_store import EventReader, is_full

_log = logging.getLogger(__name__)

_QUEUE_EVENTS, _QUEUE_BYTES = 256, 4_000_000
"""What may wait in memory for one slow reader."""
_PAGE = 500


class _Watcher:
    """One reader's place in the log and what waits for it in memory."""

    __slots__ = ("_arrived", "_bytes", "_waiting", "has_missed", "is_cut", "position", "received")

    def __init__(self, position: int, *, has_missed: bool) -> None:
        self.position = position
        """The last event that was given to the reader."""
        self.received = position
        """The last event that was given to the watcher."""
        self.has_missed = has_missed
        """Whether the database holds events that are not in memory."""
        self.is_cut = False
        """Whether the process goes and the reader has to watch at another one."""
        self._waiting: list[StoredEvent] = []
        self._bytes = 0
        self._arrived = asyncio.Event()

    def push(self, events: Sequence[StoredEvent]) -> bool:
        """Adds stored events; returns False when the reader is too slow and must read them from the database."""
        self.received = max(self.received, events[-1].sequence)
        self._arrived.set()
        self._waiting.extend(events)
        for event in events:
            self._bytes += len(event.payload)
        if len(self._waiting) > _QUEUE_EVENTS or self._bytes > _QUEUE_BYTES:
            self._take()
            self.has_missed = True
            return False
        return True

    def miss(self) -> None:
        """Has the reader look into the database, because there may be events that nobody pushes."""
        self.has_missed = True
        self._arrived.set()

    def cut(self) -> None:
        """Ends the watching after what is in memory."""
        self.is_cut = True
        self._arrived.set()

    async def linger(self, longest_s: float) -> None:
        """Waits for one more arrival after the last one, but not longer than this."""
        if self.is_cut or self.has_missed:
            return
        self._arrived.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._arrived.wait()
        self._arrived.set()

    async def next(self) -> list[StoredEvent]:
        """Returns the events that continue the log without a gap; empty when there is one."""
        if not self.is_cut:
            await self._arrived.wait()
        self._arrived.clear()
        waiting = self._take()
        if self.has_missed:
            return []
        whole: list[StoredEvent] = []
        following = self.position + 1
        for event in waiting:
            if event.sequence > following:
                self.has_missed = True
                break
            if event.sequence == following:
                whole.append(event)
                following += 1
        return whole

    def _take(self) -> list[StoredEvent]:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        return waiting


class RunView:
    """One reader's view of a run: an iterator over what each flush stored, up to the log's last event."""

    def __init__(
        self,
        run_id: UUID,
        watcher: _Watcher,
        reader: EventReader,
        *,
        has_ended: bool,
        on_close: Callable[[UUID, _Watcher], None],
    ) -> None:
        self.run_id = run_id
        self._watcher = watcher
        self._reader = reader
        self._has_ended = has_ended
        self._on_close = on_close
        self._is_over = False

    def __enter__(self) -> RunView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the watching, and nothing else."""
        self._on_close(self.run_id, self._watcher)

    async def linger(self, longest_s: float) -> None:
        """Lets what comes soon go with what is there: a run that ends meanwhile is told in one piece."""
        await self._watcher.linger(longest_s)

    def __aiter__(self) -> AsyncIterator[Sequence[StoredEvent]]:
        return self

    async def __anext__(self) -> Sequence[StoredEvent]:
        while not self._is_over:
            events = await self._next()
            if not events and self._watcher.is_cut:
                raise UnavailableError("This process goes; watch the run again.", reason="draining", retry_after_s=0)
            if events:
                self._watcher.position = events[-1].sequence
                self._is_over = ends_the_log(events[-1].payload)
                return events
            self._is_over = self._has_ended
        raise StopAsyncIteration

    async def _next(self) -> Sequence[StoredEvent]:
        """Returns what comes next: from memory, or where memory has a gap, from the database."""
        watcher = self._watcher
        if not watcher.has_missed:
            return await watcher.next()
        watcher.has_missed = False
        events = await self._reader.read(self.run_id, after_sequence=watcher.position, limit=_PAGE)
        if is_full(events, limit=_PAGE):
            watcher.has_missed = True
        if events:
            watcher.received = max(watcher.received, events[-1].sequence)
        return events


class WatchHub:
    """Gives every reader of a run the same sequence, wherever the run is executed."""

    def __init__(self, reader: EventReader, *, metrics: RunMetrics, poll_interval_s: float = 0.05) -> None:
        self._reader = reader
        self._metrics = metrics
        self._poll_interval_s = poll_interval_s
        self._watchers: dict[UUID, set[_Watcher]] = {}
        self._has_watchers = asyncio.Event()
        self._is_closed = False

    def deliver(self, run_id: UUID, events: Sequence[StoredEvent]) -> None:
        """Hands stored events to the run's watchers; never waits for them."""
        for watcher in self._watchers.get(run_id, ()):
            if not watcher.push(events):
                self._metrics.slow_watchers.inc()

    def open(self, run_id: UUID, *, after_sequence: int = 0, is_new: bool = False, has_ended: bool = False) -> RunView:
        """Opens a view of a run's events after a sequence number; from now on it misses none.

        is_new: the run is accepted after this call, by this process, so that there is nothing to read yet.
        has_ended: the run is over or waits for a person, so that nothing comes after what the database holds.
        """
        watcher = _Watcher(after_sequence, has_missed=not is_new)
        if self._is_closed:
            watcher.cut()
        self._watchers.setdefault(run_id, set()).add(watcher)
        self._has_watchers.set()
        self._metrics.watchers.inc()
        return RunView(run_id, watcher, self._reader, has_ended=has_ended, on_close=self._unsubscribe)

    def reread(self, run_id: UUID) -> None:
        """Has the run's watchers read what its last owner wrote, which from now on no poll finds."""
        for watcher in self._watchers.get(run_id, ()):
            watcher.miss()

    def close(self) -> None:
        """Cuts all views, also those to come, because this process goes."""
        self._is_closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.cut()

    async def poll(self, is_local: Callable[[UUID], bool]) -> None:
        """Reads on for watched runs that other processes execute, until it is cancelled."""
        before: set[UUID] = set()
        while True:
            await self._has_watchers.wait()
            remote = {run_id for run_id in self._watchers if not is_local(run_id)}
            # A run that has just ended here is nobody's any more while its last events are read: it gets one round.
            if asked := remote & before:
                await self._read_remote(
                    {run_id: min(watcher.received for watcher in self._watchers[run_id]) for run_id in asked}
                )
            before = remote
            await asyncio.sleep(self._poll_interval_s)

    async def _read_remote(self, positions: dict[UUID, int]) -> None:
        try:
            found = await self._reader.read_many(positions)
        except FlotillaError as error:
            _log.warning("watched runs cannot be read", extra={"reason": error.reason, "error": error.message})
            await asyncio.sleep(min(1.0, 10 * self._poll_interval_s))
            return
        by_run: dict[UUID, list[StoredEvent]] = {}
        for event in found:
            by_run.setdefault(event.run_id, []).append(event)
        for run_id, events in by_run.items():
            self.deliver(run_id, events)

    def _unsubscribe(self, run_id: UUID, watcher: _Watcher) -> None:
        watchers = self._watchers.get(run_id, set())
        if watcher not in watchers:
            return
        self._metrics.watchers.dec()
        watchers.remove(watcher)
        if not watchers:
            del self._watchers[run_id]
        if not self._watchers:
            self._has_watchers.clear()
