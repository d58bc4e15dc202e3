import asyncio

from flotilla_common.lifecycle import Lifecycle, Work


class Process:
    """Records what the lifecycle does to it."""

    def __init__(self, *, drain_max_s: float = 5.0) -> None:
        self.steps: list[str] = []
        self.work = Work()
        self.lifecycle = Lifecycle(
            work=self.work, drain_max_s=drain_max_s, stop_taking=self.stop_taking, drain=self.hand_back
        )

    async def stop_taking(self) -> None:
        self.steps.append("stop taking")

    async def hand_back(self) -> None:
        self.steps.append("hand back")


async def test_drain_stops_taking_before_it_hands_back() -> None:
    process = Process()

    assert await process.lifecycle.drain()

    assert process.steps == ["stop taking", "hand back"]


async def test_drain_waits_for_the_work() -> None:
    process = Process()
    process.work.begin()
    process.work.begin()
    draining = asyncio.create_task(process.lifecycle.drain())

    process.work.end()
    _, pending = await asyncio.wait([draining], timeout=0.4)
    assert pending

    process.work.end()
    assert await draining


async def test_drain_gives_up_after_its_longest_wait() -> None:
    process = Process(drain_max_s=0.3)
    process.work.begin()

    assert not await process.lifecycle.drain()


async def test_drain_happens_once_for_all_who_ask() -> None:
    process = Process()

    results = await asyncio.gather(process.lifecycle.drain(), process.lifecycle.drain())
    again = await process.lifecycle.drain()

    assert [*results, again] == [True, True, True]
    assert process.steps == ["stop taking", "hand back"]


async def test_drain_goes_on_when_the_one_who_asked_leaves() -> None:
    process = Process()
    asking = asyncio.create_task(process.lifecycle.drain())
    await asyncio.sleep(0)

    asking.cancel()

    assert await process.lifecycle.drain()
    assert process.steps == ["stop taking", "hand back"]


async def test_work_is_idle_again_when_all_has_ended() -> None:
    work = Work()
    work.begin()
    work.end()

    await asyncio.wait_for(work.until_idle(), 10)

    assert work.in_flight == 0
