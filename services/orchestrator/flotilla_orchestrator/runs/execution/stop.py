"""Why an execution is to stop before its graph ends, checked before every call that may have an effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from flotilla_common.errors import CancelledError

from flotilla_orchestrator.runs.event_log.journal import LeaseLostError


class StopReason(Enum):
    """Who wants the execution to stop."""

    CANCELLED = "cancelled"
    """Somebody asked for it; the run ends."""
    HANDED_BACK = "handed_back"
    """This process goes; another one continues the run."""
    LOST = "lost"
    """The lease is another owner's, or has ended; nothing may be written any more."""


class StopSignal:
    """Stops one execution's task, once; a lost lease overrides every other reason."""

    def __init__(self, has_lease: Callable[[], bool]) -> None:
        self._has_lease = has_lease
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self.reason: StopReason | None = None

    def bind(self, task: asyncio.Task[None]) -> None:
        """Says which task is to be cancelled; a reason that came before stops it now."""
        self._task = task
        if self.reason is not None:
            self._cancel(task)

    def close(self) -> None:
        """The graph is through: from now on only a lost lease stops the execution."""
        self._is_closed = True

    def request(self, reason: StopReason) -> None:
        """Stops the execution."""
        is_first = self.reason is None
        if reason is not StopReason.LOST and (self._is_closed or not is_first):
            return
        self.reason = reason
        if self._task is not None and (is_first or self._is_closed):
            self._cancel(self._task)

    def check(self) -> None:
        """Raises CancelledError after a cancel, and LeaseLostError when the run is not this process's any more."""
        if self.reason is StopReason.CANCELLED:
            raise CancelledError("The run was cancelled.", reason="cancelled")
        if self.reason is not None or not self._has_lease():
            raise LeaseLostError("The run is continued elsewhere.", reason="lease_lost")

    def _cancel(self, task: asyncio.Task[None]) -> None:
        # Not at once: a task that is cancelled before its first step would never come to end its run.
        task.get_loop().call_soon(self._cancel_now, task)

    def _cancel_now(self, task: asyncio.Task[None]) -> None:
        # A graph that came through meanwhile has an end, which nothing may hit while it is stored.
        if not self._is_closed or self.reason is StopReason.LOST:
            task.cancel()
