"""Decides which route is asked next, after which wait, and when to give up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, Self, TypeVar

from flotilla_common.errors import FlotillaError

from flotilla_llm.failures import handling
from flotilla_llm.routes import Retry, Route


class Candidate(Protocol):
    """A route that can be asked."""

    @property
    def route(self) -> Route:
        """The route's data."""
        ...

    def repeated(self) -> None:
        """Notes that it is asked once more."""
        ...

    def left(self) -> None:
        """Notes that the next candidate is asked instead."""
        ...


C = TypeVar("C", bound=Candidate)


class Attempts(Generic[C]):
    """Walks through candidates in order; after each failure `failed` says what comes next."""

    def __init__(self, candidates: Sequence[C], *, draw: Callable[[], float] = random.random) -> None:
        self._candidates = candidates
        self._draw = draw
        self._at = 0
        self._made = 0
        self._wait_s = 0.0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> C:
        if self._wait_s:
            await asyncio.sleep(self._wait_s)
        self._made += 1
        return self._candidates[self._at]

    def failed(self, error: FlotillaError) -> None:
        """Chooses what comes next, or raises the error when nothing may."""
        candidate, action = self._candidates[self._at], handling(error)
        retry = candidate.route.retry
        self._wait_s = back_off_s(retry, self._made, error.retry_after_s, self._draw)
        if action.repeats and self._made < retry.attempts and self._wait_s <= retry.max_delay_s:
            candidate.repeated()
            return
        if not action.falls_back or self._at + 1 == len(self._candidates):
            raise error
        candidate.left()
        self._at, self._made, self._wait_s = self._at + 1, 0, 0.0


def back_off_s(retry: Retry, attempts: int, retry_after_s: float | None, draw: Callable[[], float]) -> float:
    """Returns the wait before the next attempt: exponential with full jitter, on top of what the provider asked for."""
    jitter = draw() * min(retry.base_delay_s * 2.0 ** (attempts - 1), retry.max_delay_s)
    return jitter if retry_after_s is None else retry_after_s + min(jitter, retry.base_delay_s)
