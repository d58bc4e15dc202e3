"""How large a sweep's batches are, and what one that fails does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from flotilla_common.errors import DeadlineExceededError
from flotilla_common.sweeps import FROM_THE_BEGINNING, Batch, Pace, Sweep, SweepMetrics
from prometheus_client import CollectorRegistry

FIRST_DUE = datetime(2024, 5, 1, tzinfo=UTC)
QUICK = Pace(least=20, most=500, fast_s=3600.0, slow_s=7200.0)
SLOW = Pace(least=20, most=500, fast_s=0.0, slow_s=0.0, longest_pause_s=0.0)


class Heap:
    """So many things that are due, a second apart."""

    def __init__(self, count: int) -> None:
        self.left = [FIRST_DUE + timedelta(seconds=second) for second in range(count)]
        self.asked: list[tuple[int, datetime]] = []
        self.failures: list[Exception] = []

    async def delete(self, limit: int, after: datetime) -> Batch:
        self.asked.append((limit, after))
        if self.failures:
            raise self.failures.pop()
        gone, self.left = self.left[:limit], self.left[limit:]
        return Batch(gone, 2 * len(gone))


def sweep_of(heap: Heap, pace: Pace, registry: CollectorRegistry | None = None) -> Sweep:
    return Sweep(
        "things", heap.delete, metrics=SweepMetrics(registry or CollectorRegistry()), turn=asyncio.Lock(), pace=pace
    )


async def test_batches_grow_while_they_are_quick_and_stay_so() -> None:
    heap = Heap(2000)
    sweep = sweep_of(heap, QUICK)

    deleted = await sweep.run()

    assert deleted == 4000
    assert [limit for limit, _ in heap.asked] == [20, 40, 80, 160, 320, 500, 500, 500]
    assert sweep.size == 500


async def test_batches_shrink_while_they_are_slow() -> None:
    heap = Heap(300)
    sweep = sweep_of(heap, SLOW)
    sweep.size = 160

    await sweep.run()

    assert [limit for limit, _ in heap.asked] == [160, 80, 40, 20, 20]


async def test_a_batch_begins_where_the_last_one_ended() -> None:
    heap = Heap(30)

    await sweep_of(heap, QUICK).run()

    assert [after for _, after in heap.asked] == [FROM_THE_BEGINNING, FIRST_DUE + timedelta(seconds=19)]


async def test_a_batch_that_fails_is_raised_and_the_next_is_smaller() -> None:
    heap = Heap(30)
    heap.failures = [DeadlineExceededError("the database took too long", reason="statement_timeout")]
    sweep = sweep_of(heap, QUICK)

    with pytest.raises(DeadlineExceededError):
        await sweep.run()

    assert sweep.size == 5
    assert await sweep.run() == 60
