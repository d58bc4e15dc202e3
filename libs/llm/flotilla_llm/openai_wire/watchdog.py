"""Ends a stream whose next token is late, with one timer for the whole stream rather than one for each read."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import aiohttp

from flotilla_llm.failures import failure
from flotilla_llm.routes import Timeouts


class Watchdog:
    """Watches the first token, the gap between tokens and the total; a late stream fails with model_timeout."""

    __slots__ = ("_between_s", "_content", "_deadline", "_late_at", "_loop", "_timer")

    def __init__(self, response: aiohttp.ClientResponse, timeouts: Timeouts, started_at: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._content = response.content
        self._between_s = timeouts.between_tokens_s
        self._deadline = started_at + timeouts.total_s
        self._late_at = min(started_at + timeouts.first_token_s, self._deadline)
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._timer = self._loop.call_at(self._late_at, self._check)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def heard(self) -> None:
        """Starts the next gap; mostly only the time is kept, and the timer looks at it when it fires."""
        self._late_at = min(self._loop.time() + self._between_s, self._deadline)
        if self._timer is not None and self._late_at < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self._late_at, self._check)

    def _check(self) -> None:
        if self._loop.time() < self._late_at:
            self._timer = self._loop.call_at(self._late_at, self._check)
            return
        self._content.set_exception(failure("model_timeout", "The model's next token did not come in time."))
