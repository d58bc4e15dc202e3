"""Stores one run's rows by themselves where a batch could not be stored, so that they hold up no other run's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from flotilla_common.errors import DeadlineExceededError, UnavailableError

from flotilla_orchestrator.runs.event_log.entries import Deliver, Entry
from flotilla_orchestrator.runs.event_log.journal import RunJournal
from flotilla_orchestrator.runs.event_log.store_calls import FIRST_PAUSE_S, StoreCalls

_log = logging.getLogger(__name__)

_AT_ONCE = 4
"""Calls that may be open at once, so that slow ones do not take all connections."""
_MOST_TIMEOUTS = 3
"""Of a run's own rows, before the run is ended without what takes so long."""


class LoneWriter:
    """Writes entries that left their batch, each in a task of its own."""

    def __init__(self, calls: StoreCalls, *, deliver: Deliver, on_settled: Callable[[], None]) -> None:
        """Takes `on_settled`: told when a journal is held no more, so that what came meanwhile is written."""
        self._calls = calls
        self._deliver = deliver
        self._on_settled = on_settled
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: dict[RunJournal, asyncio.Task[None]] = {}

    def holds(self, journal: RunJournal) -> bool:
        """Whether rows of a journal are on their way, so that its next ones have to wait."""
        return journal in self._tasks

    def write(self, entry: Entry) -> None:
        """Begins to store an entry; nothing of its journal may be on its way."""
        task = asyncio.get_running_loop().create_task(self._write(entry))
        self._tasks[entry.journal] = task
        task.add_done_callback(partial(self._let_go, entry.journal))

    def stop(self) -> None:
        """Gives up everything that is on its way, because the process goes."""
        for task in self._tasks.values():
            task.cancel()

    async def _write(self, entry: Entry) -> None:
        try:
            await self._store(entry)
        except Exception as error:  # noqa: BLE001 - whatever it was, only the run at fault may bear it
            entry.refuse(error)

    async def _store(self, entry: Entry) -> None:
        """Tries until it is stored, the run's lease has ended, or its own rows took too long too often."""
        pause_s, timeouts = FIRST_PAUSE_S, 0
        while not entry.is_over():
            try:
                await self._try(entry)
            except UnavailableError:
                """An outage, which is nobody's fault."""
            except (DeadlineExceededError, TimeoutError):
                timeouts += await self._calls.answers(entry.journal.run_id, entry.journal.epoch)
            else:
                return
            if timeouts == _MOST_TIMEOUTS:
                timeouts = 0
                _log.error("a run's rows take too long to be stored", extra={"run_id": str(entry.journal.run_id)})
                if not entry.lighten():
                    return
            pause_s = await self._calls.back_off(pause_s)

    async def _try(self, entry: Entry) -> None:
        async with self._places:
            if not entry.is_over():
                entry.settle(is_ours=await entry.store_alone(self._calls), deliver=self._deliver)

    def _let_go(self, journal: RunJournal, _: asyncio.Task[None]) -> None:
        del self._tasks[journal]
        self._on_settled()
