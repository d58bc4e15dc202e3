from __future__ import annotations

import asyncio

import pytest
from flotilla_common.rpc.multiplex.bounds import LARGEST_BATCH
from flotilla_common.rpc.multiplex.outbox import Outbox


class Wire:
    """Takes batches, each when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_write = asyncio.Semaphore(0)

    async def write(self, frames: list[str]) -> None:
        self.batches.append(frames)
        await self.may_write.acquire()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_comes_during_a_write_goes_with_the_next() -> None:
    wire = Wire()
    outbox = Outbox(wire.write)
    running = asyncio.create_task(outbox.run())

    outbox.put("1", 1)
    await settle()
    for frame in ("2", "3", "4"):
        outbox.put(frame, 1)
    await settle()
    assert wire.batches == [["1"]]
    wire.may_write.release()
    await settle()

    assert wire.batches == [["1"], ["2", "3", "4"]]
    wire.may_write.release()
    outbox.close()
    await running


async def test_batches_are_bounded_and_keep_the_order() -> None:
    wire = Wire()
    outbox = Outbox(wire.write)
    sizes = [LARGEST_BATCH // 2] * 7
    for number, size in enumerate(sizes):
        outbox.put(str(number), size)
    assert outbox.is_full
    for _ in sizes:
        wire.may_write.release()

    outbox.close()
    await outbox.run()

    assert wire.batches == [["0", "1"], ["2", "3"], ["4", "5"], ["6"]]
    assert not outbox.is_full


async def test_room_is_there_again_once_a_batch_is_all_that_waits() -> None:
    wire = Wire()
    outbox = Outbox(wire.write)
    running = asyncio.create_task(outbox.run())
    for _ in range(3):
        outbox.put("x", LARGEST_BATCH)
    waiting = asyncio.create_task(outbox.room())

    await settle()
    assert not waiting.done()
    wire.may_write.release()
    await settle()

    assert waiting.done()
    for _ in range(2):
        wire.may_write.release()
    outbox.close()
    await running


async def test_failed_write_ends_the_run() -> None:
    async def fail(frames: list[str]) -> None:
        raise ConnectionError("gone")

    outbox = Outbox(fail)
    outbox.put("1", 1)

    with pytest.raises(ConnectionError):
        await outbox.run()
