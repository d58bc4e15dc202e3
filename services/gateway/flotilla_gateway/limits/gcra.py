"""The generic cell rate algorithm (ITU-T I.371): one number a key says when its bucket is empty again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and what its limit looks like afterwards."""

    is_allowed: bool
    limit: int
    """Requests a minute."""
    remaining: int
    """Requests that would pass at once now."""
    retry_after_s: float
    """How long until the next would pass; 0 when it passed."""
    reset_after_s: float
    """How long until the whole limit is there again."""


def decide(full_at: float, now: float, *, per_minute: int) -> tuple[float, Verdict]:
    """Returns the new theoretical arrival time and the verdict, for a request at `now` (seconds, any clock).

    full_at: when the bucket is empty again; what the last call returned, or anything in the past.
    """
    interval = 60.0 / per_minute
    start = max(full_at, now)
    earliest = start + interval - 60.0
    if earliest > now + 1e-9:
        return full_at, Verdict(False, per_minute, 0, earliest - now, start - now)
    after = start + interval
    remaining = math.floor((60.0 - (after - now)) / interval + 1e-6)
    return after, Verdict(True, per_minute, max(remaining, 0), 0.0, after - now)


class LocalLimiter:
    """The same limit in one process, for when Redis is away."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most_keys: int = 50_000) -> None:
        self._clock = clock
        self._most_keys = most_keys
        self._full_at: dict[str, float] = {}

    def take(self, key: str, *, per_minute: int) -> Verdict:
        """Counts one request of a key."""
        now = self._clock()
        if len(self._full_at) >= self._most_keys:
            self._full_at = {name: at for name, at in self._full_at.items() if at > now}
        self._full_at[key], verdict = decide(self._full_at.get(key, now), now, per_minute=per_minute)
        return verdict
