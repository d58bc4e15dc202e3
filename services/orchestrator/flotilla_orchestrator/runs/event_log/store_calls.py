"""The writer's calls of the run store: none takes longer than its time, and an outage is met with patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from flotilla_common.errors import FlotillaError

from flotilla_orchestrator.model import FinishedRun, NewRun
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.stores.run_store import PendingWrites, RunAppend, RunStore

T = TypeVar("T")

FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_NOWHERE = UUID(int=0)


@dataclass(frozen=True, slots=True)
class WriterTimes:
    """How the writer keeps time."""

    flush_interval_s: float = 0.025
    """The clock that coalesces tokens."""
    call_timeout_s: float = 2.0
    """How long one store call may take before it counts as failed."""
    alone_timeout_s: float = 5.0
    """How long a store call for one run alone may take; meanwhile it holds up nobody else."""
    accept_timeout_s: float = 5.0
    """How long a start may wait for the database before it is refused."""


@dataclass(frozen=True, slots=True)
class StoreCalls:
    """Calls the store of one process's runs."""

    store: RunStore
    owner: UUID
    times: WriterTimes
    metrics: RunMetrics
    drop_expired: Callable[[], None]
    """Gives up the runs whose lease has ended meanwhile."""

    async def accept(self, runs: Sequence[NewRun]) -> set[UUID]:
        """Stores new runs. Raises TimeoutError and the store's errors, as all calls do."""
        return await _within(self.times.call_timeout_s, self.store.accept(runs, owner=self.owner))

    async def append(self, batch: Sequence[RunAppend], *, alone: bool = False) -> set[UUID]:
        """Stores what runs made."""
        return await _within(self._longest_s(alone), self.store.append(batch))

    async def finish(self, batch: Sequence[FinishedRun], *, alone: bool = False) -> set[UUID]:
        """Ends runs."""
        return await _within(self._longest_s(alone), self.store.finish(batch, owner=self.owner))

    async def answers(self, run_id: UUID, epoch: int) -> bool:
        """Whether an append passes that writes no row: then it is a run's rows that take too long."""
        no_writes = PendingWrites(_NOWHERE, "", _NOWHERE, run_id, task_id="", task_path="", writes=())
        try:
            await self.append([RunAppend(run_id, epoch, writes=[no_writes])])
        except (FlotillaError, TimeoutError):
            return False
        return True

    async def back_off(self, pause_s: float) -> float:
        """Waits after a call that failed; returns how long to wait after the next one."""
        self.metrics.flush_failures.inc()
        await asyncio.sleep(pause_s)
        self.drop_expired()
        return min(2 * pause_s, _LONGEST_PAUSE_S)

    def _longest_s(self, alone: bool) -> float:
        return self.times.alone_timeout_s if alone else self.times.call_timeout_s


async def _within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(seconds):
        return await call
