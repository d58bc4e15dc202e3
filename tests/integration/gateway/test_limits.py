"""The shared limit: the same arithmetic in Redis as here, and a stricter one without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fakes.servers import running_valkey
from flotilla_common.ids import new_id
from flotilla_gateway.limits.shared import SharedLimiter
from flotilla_gateway.limits.window import Verdict
from redis.asyncio import Redis

PATIENCE_S = 10.0
"""How long Redis is waited for where it answers."""


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(valkey_url, protocol=2)
    yield client
    await client.aclose()


async def take(limiter: SharedLimiter, key: str, *, per_minute: int) -> Verdict:
    """Counts one request and returns whether it may pass."""
    answer = await limiter.ask(key, per_minute=per_minute)
    return await answer()


async def take_until_ahead(limiter: SharedLimiter, redis: Redis, key: str) -> tuple[int, int]:
    """Lets requests of a key pass until one takes others ahead; returns how many passed and how many were counted."""
    passed = 0
    while (counted := await _counted(redis, key)) == passed:
        assert (await take(limiter, key, per_minute=100_000)).is_allowed
        passed += 1
    return passed, counted


async def two_seconds_later(redis: Redis) -> None:
    """Waits until a key's pace is none of the last second any more."""
    second, _ = await redis.time()
    while (await redis.time())[0] < second + 3:  # noqa: ASYNC110 - a clock sends no event
        await asyncio.sleep(0.05)


async def test_limit_in_redis_is_the_whole_limit_at_once(redis: Redis) -> None:
    limiter, key = SharedLimiter(redis, timeout_s=PATIENCE_S), str(new_id())

    verdicts = [await take(limiter, key, per_minute=6) for _ in range(7)]

    assert [verdict.is_allowed for verdict in verdicts] == [True] * 6 + [False]
    assert [verdict.remaining for verdict in verdicts] == [5, 4, 3, 2, 1, 0, 0]
    assert 55 < verdicts[-1].retry_after_s <= 61
    assert 60 <= verdicts[0].reset_after_s <= 61


async def test_second_that_left_the_window_in_redis_gives_its_requests_back(redis: Redis) -> None:
    key = str(new_id())
    seconds, _ = await redis.time()
    await redis.hset(f"flotilla:gateway:rate:{key}", mapping={str(seconds - 62): 3, str(seconds - 30): 2})

    verdicts = [await take(SharedLimiter(redis, timeout_s=PATIENCE_S), key, per_minute=3) for _ in range(2)]

    assert [verdict.is_allowed for verdict in verdicts] == [True, False]
    assert 25 < verdicts[1].retry_after_s <= 31
    assert str(seconds - 62).encode() not in await redis.hgetall(f"flotilla:gateway:rate:{key}")


async def test_key_in_redis_goes_by_itself(redis: Redis) -> None:
    key = str(new_id())

    await take(SharedLimiter(redis, timeout_s=PATIENCE_S), key, per_minute=60)

    assert 0 < await redis.ttl(f"flotilla:gateway:rate:{key}") <= 61


async def test_limit_without_redis_is_this_process_share_of_it() -> None:
    now = 0.0
    with running_valkey() as url:
        redis = Redis.from_url(url, protocol=2)
        limiter = SharedLimiter(redis, local_share=0.25, timeout_s=PATIENCE_S, rest_s=1.0, clock=lambda: now)
        assert (await take(limiter, "k", per_minute=40)).limit == 40
    away = [await take(limiter, "k", per_minute=40) for _ in range(20)]
    await redis.aclose()

    assert sum(verdict.is_allowed for verdict in away) == 10
    assert {verdict.limit for verdict in away} == {10}


async def test_requests_that_come_together_are_asked_together_and_counted_one_by_one(redis: Redis) -> None:
    limiter, keys = SharedLimiter(redis, timeout_s=PATIENCE_S), [str(new_id()) for _ in range(2)]
    before = await redis.info("commandstats")

    verdicts = await asyncio.gather(*(take(limiter, keys[number % 2], per_minute=5) for number in range(20)))

    after = await redis.info("commandstats")
    assert [verdict.is_allowed for verdict in verdicts] == [True] * 10 + [False] * 10
    assert sorted(verdict.remaining for verdict in verdicts[:10]) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert _evaluations(after) - _evaluations(before) <= 4


async def test_busy_key_is_counted_ahead_and_shows_each_request_what_remains(redis: Redis) -> None:
    limiter, key = SharedLimiter(redis, timeout_s=PATIENCE_S), str(new_id())
    before = await redis.info("commandstats")

    verdicts = [await take(limiter, key, per_minute=100_000) for _ in range(500)]

    asked = _evaluations(await redis.info("commandstats")) - _evaluations(before)
    remaining = [verdict.remaining for verdict in verdicts]
    assert all(verdict.is_allowed for verdict in verdicts)
    assert asked < 250
    assert remaining == sorted(remaining, reverse=True)
    assert remaining[-1] <= 99_500
    assert await _counted(redis, key) >= 500


async def test_two_gateways_that_count_ahead_let_no_more_pass_than_the_limit(redis: Redis) -> None:
    key, limit = str(new_id()), 2_000
    gateways = [SharedLimiter(redis, timeout_s=PATIENCE_S) for _ in range(2)]
    verdicts = [True]
    while verdicts[-1]:
        verdicts += [(await take(gateway, key, per_minute=limit)).is_allowed for gateway in gateways]

    # What the other one holds, it has taken ahead: a hundredth of what remained.
    assert limit * 0.97 < sum(verdicts) - 1 <= await _counted(redis, key) == limit


async def test_waves_of_a_busy_key_s_requests_each_see_another_rest(redis: Redis) -> None:
    limiter, key = SharedLimiter(redis, timeout_s=PATIENCE_S), str(new_id())
    warm = [await take(limiter, key, per_minute=100_000) for _ in range(200)]
    before = await redis.info("commandstats")

    waves = [
        verdict
        for _ in range(10)
        for verdict in await asyncio.gather(*(take(limiter, key, per_minute=100_000) for _ in range(20)))
    ]

    assert _evaluations(await redis.info("commandstats")) - _evaluations(before) < 60
    assert len({verdict.remaining for verdict in [*warm, *waves]}) == 400
    assert await _counted(redis, key) >= 400


async def test_what_was_counted_ahead_and_not_used_is_given_back(redis: Redis) -> None:
    limiter, key, another = SharedLimiter(redis, timeout_s=PATIENCE_S), str(new_id()), str(new_id())
    passed, _ = await take_until_ahead(limiter, redis, key)
    await two_seconds_later(redis)

    # Those of the key wait for the other's answer, and then are asked about together.
    _, *last = await asyncio.gather(*(take(limiter, name, per_minute=100_000) for name in (another, key, key, key)))

    assert [verdict.remaining for verdict in last] == [100_000 - passed - number for number in (1, 2, 3)]
    assert await _counted(redis, key) == passed + 3


async def test_what_may_have_been_given_back_already_is_not_given_back_again(redis: Redis) -> None:
    limiter, key = SharedLimiter(redis, timeout_s=PATIENCE_S), str(new_id())
    _, counted = await take_until_ahead(limiter, redis, key)
    await two_seconds_later(redis)
    await redis.client_kill_filter(_type="normal", skipme=True)

    await take(limiter, key, per_minute=100_000)

    assert await _counted(redis, key) == counted + 1


async def test_key_near_its_limit_takes_nothing_ahead(redis: Redis) -> None:
    limiter, key = SharedLimiter(redis, timeout_s=PATIENCE_S), str(new_id())

    for _ in range(100):
        await take(limiter, key, per_minute=120)

    assert await _counted(redis, key) == 100


async def test_what_was_counted_ahead_passes_while_redis_is_away() -> None:
    with running_valkey() as url:
        redis = Redis.from_url(url, protocol=2)
        limiter = SharedLimiter(redis, timeout_s=PATIENCE_S, clock=lambda: 0.0)
        passed, counted = await take_until_ahead(limiter, redis, "k")
    later = [await take(limiter, "k", per_minute=100_000) for _ in range(50)]
    await redis.aclose()

    ahead = counted - passed
    assert [verdict.limit for verdict in later] == [100_000] * ahead + [25_000] * (50 - ahead)


async def test_request_that_goes_away_takes_no_answer_from_the_others(redis: Redis) -> None:
    limiter, key = SharedLimiter(redis, timeout_s=PATIENCE_S), str(new_id())
    takes = [asyncio.create_task(take(limiter, key, per_minute=10)) for _ in range(4)]
    await asyncio.sleep(0)

    takes[0].cancel()
    verdicts = await asyncio.gather(*takes[1:])

    assert all(verdict.limit == 10 and verdict.is_allowed for verdict in verdicts)


async def test_connection_that_was_closed_meanwhile_is_replaced_without_a_word(redis: Redis) -> None:
    limiter, key = SharedLimiter(redis, timeout_s=PATIENCE_S), str(new_id())
    await take(limiter, key, per_minute=6)
    await redis.client_kill_filter(_type="normal", skipme=True)

    verdict = await take(limiter, key, per_minute=6)

    assert (verdict.limit, verdict.remaining) == (6, 4)


async def test_redis_that_does_not_answer_is_not_waited_for() -> None:
    with running_valkey() as url:
        redis = Redis.from_url(url, protocol=2)
        limiter, loop = SharedLimiter(redis, timeout_s=1.0), asyncio.get_running_loop()
        await redis.ping()
        assert (await take(limiter, "k", per_minute=40)).limit == 40
        await redis.client_pause(60_000, all=True)
        began = loop.time()

        verdicts = await asyncio.gather(*(take(limiter, "k", per_minute=40) for _ in range(20)))

        # One wait for all of them.
        assert loop.time() - began < 10
        await redis.aclose()

    assert {verdict.limit for verdict in verdicts} == {10}


def _evaluations(stats: dict[str, dict[str, int]]) -> int:
    return sum(stats.get(f"cmdstat_{command}", {}).get("calls", 0) for command in ("eval", "evalsha"))


async def _counted(redis: Redis, key: str) -> int:
    return sum(map(int, await redis.hvals(f"flotilla:gateway:rate:{key}")))
