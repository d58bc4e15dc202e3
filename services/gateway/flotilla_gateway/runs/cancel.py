"""Cancelling runs whose client is gone, in tasks that outlive the request."""

from __future__ import annotations

import asyncio
import logging
import time

from flotilla_common.errors import FlotillaError, NotFoundError, PermissionDeniedError, UnauthenticatedError

from flotilla_gateway.clients.orchestrator import Orchestrator

logger = logging.getLogger(__name__)


class Canceller:
    """Sends CancelRun at once and until it arrives.

    patience_s: how long an unreachable orchestrator is asked again.
    unknown_s: how long a run that does not exist may still be on its way, because a cancel can overtake its start.
    """

    def __init__(self, orchestrator: Orchestrator, *, patience_s: float = 30.0, unknown_s: float = 3.0) -> None:
        self._orchestrator = orchestrator
        self._patience_s = patience_s
        self._unknown_s = unknown_s
        self._tasks: set[asyncio.Task[None]] = set()

    def cancel(self, run_id: str) -> None:
        """Cancels a run in the name of the current request's caller, without waiting for it."""
        task = asyncio.create_task(self._cancel(run_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, *, within_s: float = 5.0) -> None:
        """Waits for cancels that are on their way."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in self._tasks:
            task.cancel()

    async def _cancel(self, run_id: str) -> None:
        began, wait_s = time.monotonic(), 0.05
        while True:
            error = await self._try_once(run_id)
            if error is None:
                logger.info("Run cancelled, its client is gone", extra={"run_id": run_id})
                return
            unknown = isinstance(error, NotFoundError)
            if time.monotonic() - began > (self._unknown_s if unknown else self._patience_s):
                logger.warning("Run not cancelled", extra={"run_id": run_id, "error": type(error).__name__})
                return
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, 1.0)

    async def _try_once(self, run_id: str) -> FlotillaError | None:
        try:
            await self._orchestrator.cancel_run(run_id)
        except (PermissionDeniedError, UnauthenticatedError):
            raise
        except FlotillaError as error:
            return error
        return None
