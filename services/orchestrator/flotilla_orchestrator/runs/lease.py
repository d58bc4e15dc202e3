"""Ownership: a thread of its own keeps the leases alive, learns of cancellations, and gives up in time."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from flotilla_common.errors import FlotillaError

from flotilla_orchestrator.stores.run_store import RunStore

_log = logging.getLogger(__name__)

OpenStore = Callable[[], AbstractAsyncContextManager[RunStore]]
"""Opens a run store on a connection of its own, in whatever event loop calls it."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How leases keep time here; for everybody else the database's clock counts."""

    lease_s: float = 6.0
    """What the store's statements say."""
    beat_interval_s: float = 2.0
    cancel_interval_s: float = 0.5
    """How often cancel requests are looked for."""
    margin_s: float = 0.5
    """How long before its lease ends a run stops itself."""


@dataclass(slots=True)
class _Lease:
    epoch: int
    ends: float
    """By time.monotonic(), counted from before the beat was sent."""
    misses: int = 0


class LeaseKeeper:
    """Beats for all runs of this process, whatever its event loop does meanwhile."""

    def __init__(
        self,
        open_store: OpenStore,
        *,
        owner: UUID,
        times: LeaseTimes = LeaseTimes(),
    ) -> None:
        self._open_store = open_store
        self._owner = owner
        self._lost: Callable[[UUID, int], None] = _ignore
        self._cancelled: Callable[[UUID], None] = _ignore
        self._times = times
        self._leases: dict[UUID, _Lease] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: Callable[[], object] = bool
        """Ends the thread's pause."""
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def on_lost(self, callback: Callable[[UUID, int], None]) -> None:
        """Names who is told, in the event loop that starts the keeper, that a run's epoch is lost."""
        self._lost = callback

    def on_cancel(self, callback: Callable[[UUID], None]) -> None:
        """Names who is told, in the event loop that starts the keeper, that a run is to be cancelled."""
        self._cancelled = callback

    def start(self) -> None:
        """Starts the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Ends the thread; leases that are still held end by themselves."""
        self._stopping.set()
        with suppress(RuntimeError):
            # The thread's loop may have ended just now.
            self._wake()
        await asyncio.to_thread(self._thread.join)

    def hold(self, run_id: UUID, epoch: int, *, since: float) -> None:
        """Takes care of a lease that was taken after `since` (time.monotonic())."""
        with self._lock:
            self._leases[run_id] = _Lease(epoch, since + self._times.lease_s)

    def drop(self, run_id: UUID, epoch: int) -> None:
        """Takes care no longer; a later epoch of the run is none of that."""
        with self._lock:
            if (lease := self._leases.get(run_id)) and lease.epoch == epoch:
                del self._leases[run_id]

    def has_lease(self, run_id: UUID, epoch: int) -> bool:
        """Whether the lease holds for now, by this machine's monotonic clock."""
        lease = self._leases.get(run_id)
        return lease is not None and lease.epoch == epoch and time.monotonic() < lease.ends - self._times.margin_s

    def drop_expired(self) -> None:
        """Gives up the runs whose lease ended unnoticed, such as while the process was stopped."""
        for run_id, epoch in self._expired():
            self._lost(run_id, epoch)

    def _expired(self) -> list[tuple[UUID, int]]:
        limit = time.monotonic() + self._times.margin_s
        with self._lock:
            return [(run_id, lease.epoch) for run_id, lease in self._leases.items() if lease.ends <= limit]

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._keep())
            except Exception:  # noqa: BLE001 - leases must go on whatever happened to this connection
                _log.exception("the lease keeper begins again")
                self._stopping.wait(0.2)

    async def _keep(self) -> None:
        pause = asyncio.Event()
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, pause.set)
        async with self._open_store() as store:
            next_beat = time.monotonic()
            while not self._stopping.is_set():
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + self._times.beat_interval_s
                    await self._beat(store)
                else:
                    await self._look_for_cancels(store)
                self._tell_lost(self._expired())
                with suppress(TimeoutError):
                    await asyncio.wait_for(pause.wait(), self._times.cancel_interval_s)

    async def _beat(self, store: RunStore) -> None:
        with self._lock:
            held = {run_id: lease.epoch for run_id, lease in self._leases.items()}
        if not held:
            return
        sent_at = time.monotonic()
        try:
            async with asyncio.timeout(self._times.beat_interval_s):
                owned = await store.beat(held, owner=self._owner)
        except (FlotillaError, TimeoutError) as error:
            _log.warning("leases could not be extended", extra={"runs": len(held), "error": str(error)})
            return
        self._tell_lost(self._note_beat(held, owned, sent_at))
        self._tell_cancelled(run_id for run_id, is_cancelled in owned.items() if is_cancelled)

    def _note_beat(self, held: Mapping[UUID, int], owned: Collection[UUID], sent_at: float) -> list[tuple[UUID, int]]:
        """Extends what is still owned; returns what was missed twice, because once may be somebody else's lock."""
        lost = []
        with self._lock:
            for run_id, epoch in held.items():
                lease = self._leases.get(run_id)
                if lease is None or lease.epoch != epoch:
                    continue
                if run_id in owned:
                    lease.ends, lease.misses = sent_at + self._times.lease_s, 0
                    continue
                lease.misses += 1
                if lease.misses > 1:
                    lost.append((run_id, epoch))
        return lost

    async def _look_for_cancels(self, store: RunStore) -> None:
        with self._lock:
            runs = list(self._leases)
        if not runs:
            return
        try:
            async with asyncio.timeout(self._times.beat_interval_s):
                cancelled = await store.cancel_requests(runs)
        except (FlotillaError, TimeoutError) as error:
            _log.warning("cancel requests could not be read", extra={"runs": len(runs), "error": str(error)})
            return
        self._tell_cancelled(cancelled)

    def _tell_lost(self, epochs: Iterable[tuple[UUID, int]]) -> None:
        for run_id, epoch in epochs:
            self._tell(partial(self._lost, run_id, epoch))

    def _tell_cancelled(self, runs: Iterable[UUID]) -> None:
        for run_id in runs:
            self._tell(partial(self._cancelled, run_id))

    def _tell(self, news: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(news)


def _ignore(*_: object) -> None:
    """Nobody needs to know yet."""
