"""Background loops end with their process, and not before."""

from __future__ import annotations

import asyncio

from flotilla_orchestrator.runs.loops import background


async def test_loop_that_swallows_a_cancellation_is_stopped_all_the_same() -> None:
    cancelled: list[int] = []

    async def deaf() -> None:
        while len(cancelled) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(len(cancelled))
        raise asyncio.CancelledError

    async with asyncio.timeout(5):
        async with background({"deaf": deaf}):
            await asyncio.sleep(0)

    assert cancelled == [0, 1]


async def test_loop_that_fails_begins_again() -> None:
    begun = asyncio.Event()
    times: list[int] = []

    async def failing() -> None:
        times.append(len(times))
        if len(times) == 1:
            raise ValueError("once")
        begun.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(5), background({"failing": failing}):
        await begun.wait()

    assert times == [0, 1]
