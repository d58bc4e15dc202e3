"""Deletes what is kept for a time only: each kind by itself, in batches as large as is quick."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from flotilla_common.errors import FlotillaError
from flotilla_common.lifecycle import stop_tasks
from flotilla_common.postgres import Connection, Pool, map_database_errors, system_transaction

FROM_THE_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_STATEMENT_TIMEOUT = "SELECT set_config('statement_timeout', '30s', true)"
_RETRY_S = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How large batches are, by the time that they take: writers must not notice them."""

    least: int = 20
    most: int = 1000
    fast_s: float = 0.05
    """The next batch after a faster one is twice as large."""
    slow_s: float = 0.2
    """The next batch after a slower one is half as large, and begins after a pause as long as the slow one took."""
    longest_pause_s: float = 1.0


PACE = Pace()


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch dealt with."""

    due_at: Sequence[datetime]
    """When each thing was due, in any order; fewer than asked for means that nothing more is due."""
    deleted: int
    """Rows."""


Delete = Callable[[int, datetime], Awaitable[Batch]]
"""Deletes so many things that were due at a time or later, first due first, but for what another process deletes."""


class SweepMetrics:
    """What sweeps count, by kind."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.deleted = Counter("flotilla_sweep_deleted", "Rows that were due.", ["kind"], registry=registry)
        self.failures = Counter("flotilla_sweep_failures", "Sweeps that failed.", ["kind"], registry=registry)
        self.behind = Gauge(
            "flotilla_sweep_behind_seconds",
            "For how long the oldest thing may be due that is still there.",
            ["kind"],
            registry=registry,
        )


class Sweep:
    """Deletes one kind of things whenever they are due; several processes may share the work."""

    def __init__(
        self, kind: str, delete: Delete, *, metrics: SweepMetrics, turn: asyncio.Lock, pace: Pace = PACE
    ) -> None:
        """Takes a lock that it has while a batch runs, so that sweeps that share it take turns on one connection."""
        self.kind = kind
        self.size = pace.least
        """Of the next batch."""
        self._delete = delete
        self._turn = turn
        self._pace = pace
        self._deleted = metrics.deleted.labels(kind)
        self._failures = metrics.failures.labels(kind)
        self._done_until = time.time()
        metrics.behind.labels(kind).set_function(lambda: max(0.0, time.time() - self._done_until))

    async def run(self) -> int:
        """Deletes everything that is due by now and returns the number of rows; raises what a batch fails with."""
        begun_at, after, total = time.time(), FROM_THE_BEGINNING, 0
        while True:
            size = self.size
            batch, took_s = await self._batch(size, after)
            total += batch.deleted
            if len(batch.due_at) < size:
                self._done_until = begun_at
                return total
            # The index still leads to what is gone, so the next batch begins where this one ended.
            after = max(batch.due_at)
            self._done_until = after.timestamp()
            await asyncio.sleep(min(took_s, self._pace.longest_pause_s) if took_s > self._pace.slow_s else 0)

    async def again_and_again(self, interval_s: float) -> None:
        """Sweeps until it is cancelled, whatever happens to a sweep."""
        pause_s = interval_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                deleted = await self.run()
            except Exception:  # noqa: BLE001 - a loop that ends would silently keep what has to go
                self._failures.inc()
                _log.exception("a sweep failed", extra={"kind": self.kind})
                pause_s = min(interval_s, _RETRY_S)
                continue
            pause_s = interval_s
            if deleted:
                _log.info("swept", extra={"kind": self.kind, "deleted": deleted})

    async def _batch(self, size: int, after: datetime) -> tuple[Batch, float]:
        async with self._turn:
            begun_s = time.perf_counter()
            try:
                batch = await self._delete(size, after)
            except FlotillaError:
                self.size = max(1, size // 4)
                raise
            took_s = time.perf_counter() - begun_s
        self._deleted.inc(batch.deleted)
        self._adapt(took_s, is_full=len(batch.due_at) == size)
        return batch, took_s

    def _adapt(self, took_s: float, *, is_full: bool) -> None:
        if took_s > self._pace.slow_s:
            self.size = max(min(self.size, self._pace.least), self.size // 2)
        elif took_s < self._pace.fast_s and is_full:
            self.size = min(self._pace.most, self.size * 2)


@asynccontextmanager
async def sweeping(sweeps: Iterable[Sweep], *, interval_s: float) -> AsyncIterator[None]:
    """Sweeps beside what is inside; a sweep that fails is logged and holds up no other."""
    run = partial(Sweep.again_and_again, interval_s=interval_s)
    tasks = [asyncio.create_task(run(sweep), name=f"sweep {sweep.kind}") for sweep in sweeps]
    try:
        yield
    finally:
        await stop_tasks(tasks)


@asynccontextmanager
async def sweep_transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Opens a batch's transaction on a pool that sees every tenant; none of its statements takes longer than 30 s."""
    with map_database_errors():
        async with system_transaction(pool) as connection:
            await connection.execute(_STATEMENT_TIMEOUT)
            yield connection
