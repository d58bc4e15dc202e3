"""One rate limit for all gateways, in Redis; a stricter one of this process's own while Redis is away."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeAlias

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from flotilla_gateway.limits.allotment import MOST_AHEAD_PERCENT, Allotments, Grant, Order
from flotilla_gateway.limits.window import SECONDS_KEPT, LocalLimiter, Verdict

logger = logging.getLogger(__name__)

_REJECTED = Counter("flotilla_gateway_rate_limited_total", "Requests refused because their key's limit was spent.")
_LOCAL = Counter(
    "flotilla_gateway_local_limit_total", "Requests limited by this process alone, because Redis was away."
)

# window.decide in Lua for one request of each key in turn, on Redis's clock, so that replicas whose clocks differ share
# one limit. Times in microseconds. A gateway gives back with a request what it took ahead and did not use, and takes
# ahead what it wants for the next ones: less when little remains of the limit, or of the second.
_WINDOW = """
local now_parts = redis.call('TIME')
local second = tonumber(now_parts[1])
local now = second * 1000000 + now_parts[2]
local second_left = (second + 1) * 1000000 - now
local kept, most_ahead = tonumber(ARGV[1]), tonumber(ARGV[2]) / 100
local verdicts = {}
for number, key in ipairs(KEYS) do
  local limit, wanted = tonumber(ARGV[4 * number - 1]), tonumber(ARGV[4 * number])
  local unused, unused_of = tonumber(ARGV[4 * number + 1]), ARGV[4 * number + 2]
  if unused > 0 and tonumber(redis.call('HGET', key, unused_of) or 0) >= unused then
    redis.call('HINCRBY', key, unused_of, -unused)
  end
  local counts = redis.call('HGETALL', key)
  local passed, first, last = 0, second, 0
  for at = 1, #counts, 2 do
    local counted = tonumber(counts[at])
    if counted <= second - kept then
      redis.call('HDEL', key, counts[at])
    else
      passed = passed + counts[at + 1]
      first, last = math.min(first, counted), math.max(last, counted)
    end
  end
  if passed >= limit then
    verdicts[number] = {0, 0, (first + kept) * 1000000 - now, (last + kept) * 1000000 - now, 0, second, second_left}
  else
    local remaining = limit - passed - 1
    local ahead = math.min(math.ceil(wanted * second_left / 1000000), math.floor(remaining * most_ahead))
    redis.call('HINCRBY', key, second, 1 + ahead)
    redis.call('EXPIRE', key, kept)
    verdicts[number] = {1, remaining, 0, (second + kept) * 1000000 - now, ahead, second, second_left}
  end
end
return verdicts
"""
_WINDOW_SHA = hashlib.sha1(_WINDOW.encode(), usedforsecurity=False).hexdigest()


Answer: TypeAlias = Callable[[], Awaitable[Verdict]]
"""Waits for what a limiter was asked."""


class Limiter(Protocol):
    """Counts requests of a key against its limit."""

    async def ask(self, key: str, *, per_minute: int) -> Answer:
        """Counts one request; returns as soon as the question is on its way, for who has other work meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class _Question:
    """One request that waits to be counted."""

    key: str
    per_minute: int
    verdict: asyncio.Future[Verdict | None]
    """None when Redis did not say."""


class SharedLimiter:
    """Counts in Redis. Without Redis every gateway allows only a share of the limit: stricter, never open.

    Requests that come while Redis is asked are asked together in the next round trip, all on one connection; a busy
    key's next requests are counted with it.

    local_share: what part of a limit one process allows by itself; at most 1 / replicas.
    timeout_s: how long an answer is waited for; a limit that waits for Redis is worse than the local one.
    rest_s: how long Redis is left alone after it failed, so that not every request waits for it in vain.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        local_share: float = 0.25,
        timeout_s: float = 0.25,
        rest_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = redis.connection_pool
        self._connection: AbstractConnection | None = None
        self._waiting: list[_Question] = []
        self._asking: asyncio.Task[None] | None = None
        self._sent = asyncio.Event()
        self._ahead = Allotments(clock=clock)
        self._local = LocalLimiter(clock=clock)
        self._local_share = local_share
        self._timeout_s = timeout_s
        self._rest_s = rest_s
        self._clock = clock
        self._resting_until = 0.0

    async def ask(self, key: str, *, per_minute: int) -> Answer:
        """Counts one request; returns as soon as the question is on its way, for who has other work meanwhile."""
        if counted := self._ahead.take(key, per_minute=per_minute):
            return partial(_known, counted)
        question: _Question | None = None
        if self._clock() >= self._resting_until:
            question = _Question(key, per_minute, asyncio.get_running_loop().create_future())
            self._waiting.append(question)
            if self._asking is None:
                # A task of its own: whoever asked first may go away before the others have their answer.
                self._asking = asyncio.create_task(self._ask(), name="rate limits")
                self._sent.clear()
                await self._sent.wait()
        return partial(self._verdict, question, key, per_minute)

    async def _verdict(self, question: _Question | None, key: str, per_minute: int) -> Verdict:
        shared = None if question is None else await question.verdict
        verdict = shared or self._take_local(key, per_minute)
        if not verdict.is_allowed:
            _REJECTED.inc()
        return verdict

    async def _ask(self) -> None:
        """Asks for all who wait, until nobody does."""
        batch: list[_Question] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                for question, verdict in zip(batch, await self._decide(batch), strict=True):
                    _answer(question, verdict)
                self._waiting = [question for question in self._waiting if not self._passes_ahead(question)]
        finally:
            self._asking = None
            for question in (*batch, *self._waiting):
                _answer(question, None)
            self._waiting.clear()

    def _passes_ahead(self, question: _Question) -> bool:
        """Answers a request that was counted with another one; returns whether it was."""
        counted = self._ahead.take(question.key, per_minute=question.per_minute)
        if counted:
            _answer(question, counted)
        return counted is not None

    async def _decide(self, batch: Sequence[_Question]) -> Sequence[Verdict | None]:
        asked_at = self._clock()
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._evaluate(batch)
        except (RedisError, OSError, TimeoutError) as error:
            self._resting_until = self._clock() + self._rest_s
            logger.warning("Redis is away; limiting in this process", extra={"error": type(error).__name__})
            return [None] * len(batch)
        finally:
            # It is, or will not be.
            self._sent.set()
        grants = [_grant(question, counts) for question, counts in zip(batch, found, strict=True)]
        for question, grant in zip(batch, grants, strict=True):
            self._ahead.put(question.key, grant, asked_at=asked_at)
        return [grant.verdict for grant in grants]

    async def _evaluate(self, batch: Sequence[_Question]) -> Any:
        orders = {key: self._ahead.order(key) for key in {question.key for question in batch}}
        arguments = _arguments(batch, orders)
        try:
            return await self._call("EVALSHA", _WINDOW_SHA, *arguments)
        except NoScriptError:
            return await self._call("EVAL", _WINDOW, *arguments)
        except RedisConnectionError:
            # It may have been closed while nobody asked; a new one tells whether Redis is there. What was given back
            # may have arrived.
            orders = {key: replace(order, unused=0) for key, order in orders.items()}
            return await self._call("EVAL", _WINDOW, *_arguments(batch, orders))

    async def _call(self, *command: str | int) -> Any:
        # The client's own way asks its pool, its retries and two timers for every command, which costs more than Redis.
        if self._connection is None:
            self._connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # a decorator hides it
        await self._connection.send_command(*command)
        self._sent.set()
        return await self._connection.read_response()

    def _take_local(self, key: str, per_minute: int) -> Verdict:
        _LOCAL.inc()
        return self._local.take(key, per_minute=max(1, int(per_minute * self._local_share)))


async def _known(verdict: Verdict) -> Verdict:
    return verdict


def _arguments(batch: Sequence[_Question], orders: Mapping[str, Order]) -> list[str | int]:
    """Returns the script's arguments; the first of a key's questions gives back, the last one takes others with it."""
    first = {question.key: number for number, question in reversed(list(enumerate(batch)))}
    last = {question.key: number for number, question in enumerate(batch)}
    keys = [f"flotilla:gateway:rate:{question.key}" for question in batch]
    arguments: list[str | int] = [len(keys), *keys, SECONDS_KEPT, MOST_AHEAD_PERCENT]
    for number, question in enumerate(batch):
        order = orders[question.key]
        wanted = order.wanted if number == last[question.key] else 0
        unused = order.unused if number == first[question.key] else 0
        arguments += [question.per_minute, wanted, unused, order.second]
    return arguments


def _grant(question: _Question, counts: Sequence[int]) -> Grant:
    allowed, remaining, retry_us, reset_us, ahead, second, second_left_us = counts
    verdict = Verdict(bool(allowed), question.per_minute, remaining, retry_us / 1e6, reset_us / 1e6)
    return Grant(verdict, ahead, second, second_left_us / 1e6)


def _answer(question: _Question, verdict: Verdict | None) -> None:
    # Who has gone away meanwhile has cancelled it.
    if not question.verdict.done():
        question.verdict.set_result(verdict)
