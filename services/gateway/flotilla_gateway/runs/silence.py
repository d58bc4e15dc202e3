"""Waiting for one batch after another, each no longer than patience lasts, with one timer for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

AnswerT = TypeVar("AnswerT")


class Silence:
    """Ends waits that take too long. `asyncio.timeout` around each would set a timer and take it back every time.

    It belongs to the task that makes it; no two of its waits overlap.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    async def ended_by(self, answer: Awaitable[AnswerT]) -> AnswerT:
        """Returns what is waited for. Raises TimeoutError when patience ends first."""
        cancelling = self._task.cancelling() if self._task is not None else 0
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + self._patience_s, self._look)
        try:
            return await answer
        except asyncio.CancelledError as error:
            if self._is_over and self._task is not None and self._task.uncancel() <= cancelling:
                raise TimeoutError from error
            raise
        finally:
            self._since = None

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._since is None or self._task is None:
            return
        ends_at = self._since + self._patience_s
        if self._loop.time() < ends_at:
            self._timer = self._loop.call_at(ends_at, self._look)
            return
        self._is_over = True
        self._task.cancel()
