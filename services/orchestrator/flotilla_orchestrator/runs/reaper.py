"""Takes over runs that nobody goes on with: their lease has ended, or their owner does not heed a cancel."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from flotilla_common.errors import FlotillaError, NotFoundError
from google.protobuf.message import DecodeError

from flotilla_orchestrator.graphs.catalogue import AgentCatalogue, Release
from flotilla_orchestrator.model import OwnedRun, StoredEvent
from flotilla_orchestrator.runs.engine import RunEngine
from flotilla_orchestrator.runs.event_log.past import LoggedPast
from flotilla_orchestrator.runs.execution.failures import CANCELLED, CRASHED_TOO_OFTEN, Failure, failure_of
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.stores.run_store import EventReader, RunStore, is_full

_log = logging.getLogger(__name__)

_MOST_AT_ONCE = 50
"""So that one process does not take what several could share."""
_PAGE = 1000
_CALL_TIMEOUT_S = 5.0


class Reaper:
    """Claims runs at the moment they become free, and goes on with them here."""

    def __init__(
        self,
        engine: RunEngine,
        store: RunStore,
        events: EventReader,
        catalogue: AgentCatalogue,
        *,
        owner: UUID,
        metrics: RunMetrics,
        interval_s: float,
        max_attempts: int,
    ) -> None:
        """Takes `interval_s`: how long it sleeps at most, because a lease or a cancel may be new."""
        self._engine = engine
        self._store = store
        self._events = events
        self._catalogue = catalogue
        self._owner = owner
        self._metrics = metrics
        self._interval_s = interval_s
        self._max_attempts = max_attempts
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Looks at once."""
        self._woken.set()

    async def run(self) -> None:
        """Takes over what may be taken over, up to what this process has room for, until it is cancelled."""
        pause_s = self._interval_s
        while True:
            await self._pause(pause_s)
            try:
                pause_s = await self._look()
            except (FlotillaError, TimeoutError) as error:
                pause_s = self._interval_s
                _log.warning("runs cannot be claimed", extra={"error": str(error)})

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _look(self) -> float:
        """Claims what is due; returns how long nothing else is."""
        if self._engine.is_draining:
            return self._interval_s
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            due_in_s = await self._store.next_claim_s()
        if due_in_s is None or due_in_s > 0:
            return min(self._interval_s, due_in_s or self._interval_s)
        since = time.monotonic()
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            claimed = await self._store.claim(owner=self._owner, limit=min(self._engine.free, _MOST_AT_ONCE))
        if self._engine.is_draining:
            await self._store.release({run.run_id: run.epoch for run in claimed}, owner=self._owner)
            return self._interval_s
        results = await asyncio.gather(*(self._go_on(run, since) for run in claimed), return_exceptions=True)
        for run, result in zip(claimed, results, strict=True):
            if isinstance(result, Exception):
                _log.error("a claimed run cannot be begun", extra={"run_id": str(run.run_id)}, exc_info=result)
        return self._interval_s

    async def _go_on(self, run: OwnedRun, since: float) -> None:
        """Goes on with a run whose lease was claimed after `since` (time.monotonic())."""
        try:
            plan = await self._plan_of(run)
            past = self._past_of(run, plan, await self._read_log(run.run_id))
        except FlotillaError as error:
            # Nobody beats for its lease, so that it is claimed again when its log can be read.
            _log.warning("a claimed run cannot be read", extra={"run_id": str(run.run_id), "error": error.message})
            return
        _log.info("run taken over", extra={"run_id": str(run.run_id), "epoch": run.epoch, "attempt": run.attempt})
        self._metrics.takeovers.inc()
        await self._engine.resume(run, plan, past, since=since)

    def _past_of(self, run: OwnedRun, plan: Release | Failure, log: Sequence[StoredEvent]) -> LoggedPast:
        """Returns what the log tells; a run that ends now ends also if its log cannot be read."""
        try:
            return LoggedPast.of(log)
        except (DecodeError, KeyError, ValueError):
            if isinstance(plan, Release):
                # Not gone on with: each further claim is an attempt, and after the last one it is given up.
                raise
            _log.warning("a log cannot be read", extra={"run_id": str(run.run_id)}, exc_info=True)
            return LoggedPast()

    async def _plan_of(self, run: OwnedRun) -> Release | Failure:
        """Returns the release that the run is pinned to, or what it ends with because it cannot be gone on with."""
        if run.cancel_requested:
            return CANCELLED
        if run.attempt > self._max_attempts:
            self._metrics.dead_letters.inc()
            return CRASHED_TOO_OFTEN
        try:
            return await self._catalogue.resolve(f"{run.agent}@{run.release}")
        except NotFoundError as error:
            return failure_of(error)

    async def _read_log(self, run_id: UUID) -> list[StoredEvent]:
        log: list[StoredEvent] = []
        while True:
            page = await self._events.read(run_id, after_sequence=len(log), limit=_PAGE)
            log.extend(page)
            if not is_full(page, limit=_PAGE):
                return log
