"""What one gateway takes of a busy key's limit ahead of its requests, so that most of them wait for no round trip.

What is taken is counted for everybody at once and passes in the second in which it was counted, or not at all: no more
passes than is counted. What is left over is given back with the key's next question. So a gateway holds back at most
the hundredth part of a limit's rest from the others, and nothing of the last hundred requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from flotilla_gateway.limits.window import Verdict

MOST_AHEAD_PERCENT = 1
"""At most so much of what remains of a limit is taken ahead: who comes near a limit has it to the last request."""
_SLOWEST = 8
"""Requests a second below which nothing is taken ahead: it would save little."""


@dataclass(frozen=True, slots=True)
class Order:
    """What goes with a key's next question."""

    wanted: int = 0
    """Further requests to count with it."""
    unused: int = 0
    """Counted ones to give back, which will not pass any more."""
    second: int = 0
    """Of Redis's clock, in which these were counted."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What was counted for a request."""

    verdict: Verdict
    """On the request itself."""
    ahead: int
    """Further requests that were counted with it."""
    second: int
    """Of Redis's clock."""
    second_left_s: float


@dataclass(slots=True)
class _Allotment:
    """A key's requests at this gateway in one second of Redis's."""

    per_minute: int
    second: int
    ends_at: float
    spent_before: int
    """Requests of the second before."""
    spent: int = 0
    unused: int = 0
    remaining: int = 0
    """Requests that would pass beside the unused ones."""
    reset_at: float = 0.0

    def wanted(self, now: float) -> int:
        """Returns how many more requests to expect in the second that it is, rather too few."""
        if now >= self.ends_at:
            return _most_of(self.spent) if now < self.ends_at + 1 else 0
        return max(_most_of(self.spent_before) - self.spent, _little_of(self.spent))


class Allotments:
    """Holds what was taken ahead, by key. Times are seconds of the given clock."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most_keys: int = 50_000) -> None:
        self._clock = clock
        self._most_keys = most_keys
        self._held: dict[str, _Allotment] = {}

    def take(self, key: str, *, per_minute: int) -> Verdict | None:
        """Returns the verdict on a request that was counted ahead; None when it has to be counted now."""
        held, now = self._held.get(key), self._clock()
        if held is None or not held.unused or held.per_minute != per_minute or now >= held.ends_at:
            return None
        held.unused -= 1
        held.spent += 1
        return Verdict(True, per_minute, held.remaining + held.unused, 0.0, held.reset_at - now)

    def order(self, key: str) -> Order:
        """Returns what goes with the key's next question; what it gives back can be taken no more."""
        held, now = self._held.get(key), self._clock()
        if held is None:
            return Order()
        unused, held.unused = held.unused, 0
        return Order(held.wanted(now), unused, held.second)

    def put(self, key: str, grant: Grant, *, asked_at: float) -> None:
        """Keeps what was counted ahead of a request that was asked about at a time."""
        verdict = grant.verdict
        if not verdict.is_allowed:
            return
        held = self._held.get(key)
        # Counted from when it was asked, which was before Redis looked at its clock: never too late.
        ends_at = asked_at + grant.second_left_s
        if held is None or held.per_minute != verdict.limit or held.second != grant.second:
            before = held.spent if held is not None and held.second == grant.second - 1 else 0
            held = self._held[key] = _Allotment(verdict.limit, grant.second, ends_at, before)
            self._forget_old()
        held.ends_at = max(held.ends_at, ends_at)
        held.spent += 1
        held.unused += grant.ahead
        held.remaining = verdict.remaining - grant.ahead
        held.reset_at = asked_at + verdict.reset_after_s

    def _forget_old(self) -> None:
        if len(self._held) > self._most_keys:
            now = self._clock()
            self._held = {key: held for key, held in self._held.items() if now < held.ends_at + 1}


def _most_of(pace: int) -> int:
    return pace * 7 // 8 if pace >= _SLOWEST else 0


def _little_of(pace: int) -> int:
    return pace // 8
