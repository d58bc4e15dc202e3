"""Waits that end when patience does, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from flotilla_gateway.runs.silence import Silence


async def after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


async def waited(patience_s: float, answer: Awaitable[str]) -> str:
    silence = Silence(patience_s)
    try:
        return await silence.ended_by(answer)
    finally:
        silence.close()


async def test_each_wait_has_the_whole_patience() -> None:
    silence = Silence(1.0)

    answers = [await silence.ended_by(after(0.4)) for _ in range(3)]
    silence.close()

    assert answers == ["answer"] * 3


async def test_wait_that_is_too_long_ends_also_after_others_and_leaves_the_task_alone() -> None:
    silence, loop = Silence(0.6), asyncio.get_running_loop()
    await silence.ended_by(after(0.1))
    began = loop.time()

    with pytest.raises(TimeoutError):
        await silence.ended_by(after(30))

    task = asyncio.current_task()
    assert 0.59 <= loop.time() - began < 10
    assert task is not None
    assert task.cancelling() == 0
    assert await silence.ended_by(after(0)) == "answer"
    silence.close()


async def test_time_between_two_waits_does_not_count() -> None:
    silence = Silence(0.6)
    await silence.ended_by(after(0))
    await asyncio.sleep(0.7)

    assert await silence.ended_by(after(0.1)) == "answer"
    silence.close()


async def test_somebody_elses_cancel_stays_one() -> None:
    waiting = asyncio.create_task(waited(5, after(5)))
    await asyncio.sleep(0)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_cancel_that_comes_with_the_end_of_patience_is_not_lost() -> None:
    async def cancelled_at_the_end() -> str:
        task = asyncio.current_task()
        assert task is not None
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            task.cancel()
            raise
        return "never"

    waiting = asyncio.create_task(waited(0.02, cancelled_at_the_end()))

    with pytest.raises(asyncio.CancelledError):
        await waiting
