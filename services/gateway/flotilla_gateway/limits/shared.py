"""One rate limit for all gateways, in Redis; a stricter one of this process's own while Redis is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from flotilla_gateway.limits.window import SECONDS_KEPT, LocalLimiter, Verdict

logger = logging.getLogger(__name__)

_REJECTED = Counter("flotilla_gateway_rate_limited_total", "Requests refused because their key's limit was spent.")
_LOCAL = Counter(
    "flotilla_gateway_local_limit_total", "Requests limited by this process alone, because Redis was away."
)

# window.decide in Lua, on Redis's clock, so that replicas whose clocks differ share one limit. Times in microseconds.
_WINDOW = """
local now_parts = redis.call('TIME')
local second = tonumber(now_parts[1])
local now = second * 1000000 + now_parts[2]
local limit, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
local counts = redis.call('HGETALL', KEYS[1])
local passed, first, last = 0, second, 0
for at = 1, #counts, 2 do
  local counted = tonumber(counts[at])
  if counted <= second - kept then
    redis.call('HDEL', KEYS[1], counts[at])
  else
    passed = passed + counts[at + 1]
    first, last = math.min(first, counted), math.max(last, counted)
  end
end
if passed >= limit then
  return {0, 0, (first + kept) * 1000000 - now, (last + kept) * 1000000 - now}
end
redis.call('HINCRBY', KEYS[1], second, 1)
redis.call('EXPIRE', KEYS[1], kept)
return {1, limit - passed - 1, 0, (second + kept) * 1000000 - now}
"""


class Limiter(Protocol):
    """Counts requests of a key against its limit."""

    async def take(self, key: str, *, per_minute: int) -> Verdict:
        """Counts one request and says whether it may pass."""
        ...


class SharedLimiter:
    """Counts in Redis. Without Redis every gateway allows only a share of the limit: stricter, never open.

    local_share: what part of a limit one process allows by itself; at most 1 / replicas.
    rest_s: how long Redis is left alone after it failed, so that not every request waits for it in vain.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        local_share: float = 0.25,
        rest_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._script: Any = redis.register_script(_WINDOW)
        self._local = LocalLimiter(clock=clock)
        self._local_share = local_share
        self._rest_s = rest_s
        self._clock = clock
        self._resting_until = 0.0

    async def take(self, key: str, *, per_minute: int) -> Verdict:
        """Counts one request and says whether it may pass."""
        verdict = await self._take_shared(key, per_minute) or self._take_local(key, per_minute)
        if not verdict.is_allowed:
            _REJECTED.inc()
        return verdict

    async def _take_shared(self, key: str, per_minute: int) -> Verdict | None:
        if self._clock() < self._resting_until:
            return None
        try:
            allowed, remaining, retry_us, reset_us = await self._script(
                keys=[f"flotilla:gateway:rate:{key}"], args=[per_minute, SECONDS_KEPT]
            )
        except (RedisError, OSError, TimeoutError) as error:
            self._resting_until = self._clock() + self._rest_s
            logger.warning("Redis is away; limiting in this process", extra={"error": type(error).__name__})
            return None
        return Verdict(bool(allowed), per_minute, int(remaining), retry_us / 1e6, reset_us / 1e6)

    def _take_local(self, key: str, per_minute: int) -> Verdict:
        _LOCAL.inc()
        return self._local.take(key, per_minute=max(1, int(per_minute * self._local_share)))
