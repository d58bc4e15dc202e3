"""Runs that this process gives away when it goes, so that another one continues them at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from flotilla_common.errors import FlotillaError

from flotilla_orchestrator.model import OwnedRun
from flotilla_orchestrator.runs.event_log.journal import RunJournal
from flotilla_orchestrator.runs.execution.stop import StopReason, StopSignal
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.stores.run_store import RunStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that this process executes."""

    run: OwnedRun
    journal: RunJournal
    stop: StopSignal
    task: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class HandBack:
    """Stops executions and ends their leases."""

    store: RunStore
    owner: UUID
    metrics: RunMetrics
    stop_grace_s: float
    """How long a stopped execution may take to let go."""

    async def give(self, runs: Sequence[ActiveRun]) -> None:
        """Stops runs where they are, stores what was made, and ends the leases; what ends meanwhile is not given."""
        for active in runs:
            active.stop.request(StopReason.HANDED_BACK)
        await wait_for_tasks(runs, self.stop_grace_s)
        if left := [active for active in runs if active.stop.reason is StopReason.HANDED_BACK]:
            await asyncio.gather(*(self._last_flush(active) for active in left))
            await self.release({active.run.run_id: active.run.epoch for active in left if not active.journal.is_lost})

    async def release(self, mine: Mapping[UUID, int]) -> None:
        """Ends leases (run id → epoch), so that another process goes on with the runs at once."""
        try:
            await self.store.release(mine, owner=self.owner)
        except FlotillaError as error:
            _log.warning("runs could not be handed back", extra={"runs": len(mine), "error": error.message})
            return
        self.metrics.handed_back.inc(len(mine))
        _log.info("runs handed back", extra={"runs": len(mine)})

    async def _last_flush(self, active: ActiveRun) -> None:
        try:
            async with asyncio.timeout(self.stop_grace_s):
                await active.journal.commit()
        except (FlotillaError, TimeoutError) as error:
            _log.warning(
                "a run's last events are not stored", extra={"run_id": str(active.run.run_id), "error": str(error)}
            )
        if not active.task.done():
            # It does not let go: its epoch is spent, so that it cannot write beside the next owner.
            active.task.cancel()


async def wait_for_tasks(runs: Sequence[ActiveRun], timeout_s: float) -> None:
    """Returns when all executions have ended, or after a time."""
    if runs:
        await asyncio.wait([active.task for active in runs], timeout=timeout_s)
