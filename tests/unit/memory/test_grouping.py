"""Work in groups: together under load, alone at once, and nobody bears a neighbour's fault."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from flotilla_common.errors import UnavailableError
from flotilla_memory.grouping import Grouping


class Doubler:
    """Doubles numbers; negative ones fail, and nothing is served until `open` is set."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.open = asyncio.Event()
        self.cancelled = 0

    async def serve(self, items: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(items))
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if 99 in items:
            raise UnavailableError("away")
        if min(items) < 0:
            raise ValueError("negative")
        return [2 * item for item in items]


def grouping_of(doubler: Doubler) -> Grouping[int, int]:
    return Grouping(doubler.serve, at_once=1, largest=3, is_common=lambda error: isinstance(error, UnavailableError))


async def submitted(grouping: Grouping[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(grouping.submit(item)) for item in items]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_items_that_come_while_a_group_is_under_way_go_together() -> None:
    doubler = Doubler()
    grouping = grouping_of(doubler)
    first = await submitted(grouping, [1])
    later = await submitted(grouping, [2, 3, 4, 5])

    doubler.open.set()

    assert await asyncio.gather(*first, *later) == [2, 4, 6, 8, 10]
    assert doubler.groups == [[1], [2, 3, 4], [5]]


async def test_a_bad_item_fails_alone() -> None:
    doubler = Doubler()
    doubler.open.set()

    results = await asyncio.gather(*(await submitted(grouping_of(doubler), [1, -2, 3])), return_exceptions=True)

    assert results[0::2] == [2, 6]
    assert isinstance(results[1], ValueError)


async def test_an_outage_is_not_tried_item_by_item() -> None:
    doubler = Doubler()
    doubler.open.set()

    results = await asyncio.gather(*(await submitted(grouping_of(doubler), [1, 99])), return_exceptions=True)

    assert all(isinstance(result, UnavailableError) for result in results)
    assert doubler.groups == [[1, 99]]


async def test_work_that_nobody_waits_for_ends_and_frees_its_place() -> None:
    doubler = Doubler()
    grouping = grouping_of(doubler)
    (hanging,) = await submitted(grouping, [1])

    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    (next_one,) = await submitted(grouping, [2])
    doubler.open.set()

    assert await next_one == 4
    assert doubler.cancelled == 1
