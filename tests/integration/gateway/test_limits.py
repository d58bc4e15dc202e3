"""The shared limit: the same arithmetic in Redis as here, and a stricter one without it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fakes.servers import running_valkey
from flotilla_common.ids import new_id
from flotilla_gateway.limits.shared import SharedLimiter
from redis.asyncio import Redis


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(valkey_url, protocol=2)
    yield client
    await client.aclose()


async def test_limit_in_redis_is_the_whole_limit_at_once(redis: Redis) -> None:
    limiter, key = SharedLimiter(redis), str(new_id())

    verdicts = [await limiter.take(key, per_minute=6) for _ in range(7)]

    assert [verdict.is_allowed for verdict in verdicts] == [True] * 6 + [False]
    assert [verdict.remaining for verdict in verdicts] == [5, 4, 3, 2, 1, 0, 0]
    assert 9 < verdicts[-1].retry_after_s <= 10
    assert 59 < verdicts[-1].reset_after_s <= 60


async def test_key_in_redis_goes_by_itself(redis: Redis) -> None:
    key = str(new_id())

    await SharedLimiter(redis).take(key, per_minute=60)

    assert 0 < await redis.pttl(f"flotilla:gateway:rate:{key}") <= 1001


async def test_limit_without_redis_is_this_process_share_of_it() -> None:
    now = 0.0
    with running_valkey() as url:
        redis = Redis.from_url(url, protocol=2, socket_timeout=0.25, socket_connect_timeout=0.25)
        limiter = SharedLimiter(redis, local_share=0.25, rest_s=1.0, clock=lambda: now)
        assert (await limiter.take("k", per_minute=40)).limit == 40
    away = [await limiter.take("k", per_minute=40) for _ in range(20)]
    await redis.aclose()

    assert sum(verdict.is_allowed for verdict in away) == 10
    assert {verdict.limit for verdict in away} == {10}
