"""A sliding window: the whole limit may pass at once, and no 60 seconds ever see more than the limit.

Requests are counted by whole seconds. 60 seconds touch 61 of them, so 61 are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SECONDS_KEPT = 61


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and what its limit looks like afterwards."""

    is_allowed: bool
    limit: int
    """Requests a minute."""
    remaining: int
    """Requests that would pass at once now, through this gateway."""
    retry_after_s: float
    """How long until the next would pass; 0 when it passed."""
    reset_after_s: float
    """How long until the whole limit is there again."""


def decide(counts: Mapping[int, int], now: float, *, per_minute: int) -> Verdict:
    """Returns the verdict on one more request at `now` (seconds, any clock).

    counts: what passed so far, by whole seconds, with none older than SECONDS_KEPT.
    """
    passed = sum(counts.values())
    if passed >= per_minute:
        return Verdict(False, per_minute, 0, min(counts) + SECONDS_KEPT - now, max(counts) + SECONDS_KEPT - now)
    return Verdict(True, per_minute, per_minute - passed - 1, 0.0, int(now) + SECONDS_KEPT - now)


class LocalLimiter:
    """The limit in one process, for when Redis is away."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most_keys: int = 50_000) -> None:
        self._clock = clock
        self._most_keys = most_keys
        self._counts: dict[str, dict[int, int]] = {}

    def take(self, key: str, *, per_minute: int) -> Verdict:
        """Counts one request of a key."""
        now = self._clock()
        second = int(now)
        if len(self._counts) >= self._most_keys:
            self._counts = {name: kept for name, counts in self._counts.items() if (kept := _recent(counts, second))}
        counts = self._counts[key] = _recent(self._counts.get(key, {}), second)
        verdict = decide(counts, now, per_minute=per_minute)
        if verdict.is_allowed:
            counts[second] = counts.get(second, 0) + 1
        return verdict


def _recent(counts: Mapping[int, int], second: int) -> dict[int, int]:
    return {at: count for at, count in counts.items() if at > second - SECONDS_KEPT}
