"""What stops an execution, and until when."""

from __future__ import annotations

import asyncio

import pytest
from flotilla_orchestrator.runs.execution.stop import StopReason, StopSignal


class Execution:
    """An execution that waits for its graph, then for its end to be stored."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.graph: asyncio.Future[None] = loop.create_future()
        self.finish: asyncio.Future[None] = loop.create_future()
        self.stop = StopSignal(lambda: True)
        self.task = loop.create_task(self._execute())
        self.stop.bind(self.task)

    async def _execute(self) -> None:
        await self.graph
        self.stop.close()
        await self.finish


async def test_cancel_stops_the_graph() -> None:
    execution = Execution()
    await asyncio.sleep(0)

    execution.stop.request(StopReason.CANCELLED)
    await asyncio.wait([execution.task], timeout=5)

    assert execution.task.cancelled()
    assert execution.stop.reason is StopReason.CANCELLED


@pytest.mark.parametrize("reason", [StopReason.CANCELLED, StopReason.HANDED_BACK])
async def test_stop_in_the_moment_in_which_the_graph_ends_leaves_its_end_alone(reason: StopReason) -> None:
    execution = Execution()
    await asyncio.sleep(0)

    execution.graph.set_result(None)
    execution.stop.request(reason)
    await asyncio.sleep(0.01)
    execution.finish.set_result(None)
    await asyncio.wait([execution.task], timeout=5)

    assert not execution.task.cancelled()


async def test_lost_lease_stops_also_the_end() -> None:
    execution = Execution()
    execution.graph.set_result(None)
    await asyncio.sleep(0.01)

    execution.stop.request(StopReason.LOST)
    await asyncio.wait([execution.task], timeout=5)

    assert execution.task.cancelled()
