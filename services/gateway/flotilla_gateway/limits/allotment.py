"""What one gateway takes of a busy key's limit ahead of its requests, so that most of them wait for no round trip.

What is taken is counted for everybody at once, and is worth nothing after the second in which it was counted: nothing
passes that is not counted, and what is left over is only missed until the window has moved on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from flotilla_gateway.limits.window import Verdict

LEAST_SHARE = 100
"""At most one part in so many of what is left of a limit is taken ahead: who comes near a limit has it to the last."""
_TOP_UP = 8
"""A second's first request takes all but one part in so many of what the last second needed, later ones such a part."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What was counted for one request and those after it."""

    verdict: Verdict
    """On the request itself."""
    ahead: int
    """Further requests that were counted with it."""
    second_left_s: float
    """How long the second lasts in which they were counted."""


@dataclass(slots=True)
class _Allotment:
    per_minute: int
    ends_at: float
    """When the second ends in which it was counted."""
    left: int = 0
    spent: int = 0
    """Requests of this second so far."""
    remaining: int = 0
    """Requests that would pass beside those that are left here."""
    reset_at: float = 0.0


class Allotments:
    """Holds what was taken ahead, by key. Times are seconds of the given clock."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most_keys: int = 50_000) -> None:
        self._clock = clock
        self._most_keys = most_keys
        self._held: dict[str, _Allotment] = {}

    def take(self, key: str, *, per_minute: int) -> Verdict | None:
        """Returns the verdict on a request that was counted ahead; None when it has to be counted now."""
        held, now = self._held.get(key), self._clock()
        if held is None or not held.left or held.per_minute != per_minute or now >= held.ends_at:
            return None
        held.left -= 1
        held.spent += 1
        return Verdict(True, per_minute, held.remaining + held.left, 0.0, held.reset_at - now)

    def wanted(self, key: str) -> int:
        """Returns how many further requests to count with the next one of a key: what its own pace will need."""
        held, now = self._held.get(key), self._clock()
        if held is None or now >= held.ends_at + 1:
            return 0
        if now < held.ends_at:
            return held.spent // _TOP_UP
        return held.spent - held.spent // _TOP_UP

    def put(self, key: str, grant: Grant, *, asked_at: float) -> None:
        """Keeps what was counted ahead of a request that was asked about at a time."""
        verdict = grant.verdict
        if not verdict.is_allowed:
            return
        held = self._held.get(key)
        # Counted from when it was asked, which was before Redis looked at its clock: never too late.
        ends_at = asked_at + grant.second_left_s
        if held is None or held.per_minute != verdict.limit or asked_at >= held.ends_at:
            held = self._held[key] = _Allotment(verdict.limit, ends_at)
            self._forget_old()
        held.ends_at = max(held.ends_at, ends_at)
        held.left += grant.ahead
        held.spent += 1
        held.remaining = verdict.remaining - grant.ahead
        held.reset_at = asked_at + verdict.reset_after_s

    def _forget_old(self) -> None:
        if len(self._held) > self._most_keys:
            now = self._clock()
            self._held = {key: held for key, held in self._held.items() if now < held.ends_at + 1}
