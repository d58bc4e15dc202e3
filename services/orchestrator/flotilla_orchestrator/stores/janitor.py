"""Deletes what is kept for a time only: old events, expired threads and old idempotency keys, each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from flotilla_common.lane import fetch
from flotilla_common.postgres import Connection, Pool
from flotilla_common.sweeps import PACE, Batch, Pace, Sweep, SweepMetrics, sweep_transaction

from flotilla_orchestrator.stores.statements import retention, threads


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept and how fast they go."""

    events_kept_s: float = 24 * 3600.0
    """After the run's end."""
    pace: Pace = PACE


class Janitor:
    """Sweeps the tables; several may do so at once."""

    def __init__(self, pool: Pool, metrics: SweepMetrics, retention: Retention = Retention()) -> None:
        """Takes a pool that sees every tenant, of which it uses one connection at a time."""
        self._pool = pool
        self._retention = retention
        turn = asyncio.Lock()
        self.events = Sweep("events", self._delete_events, metrics=metrics, turn=turn, pace=retention.pace)
        self.threads = Sweep("threads", self._delete_threads, metrics=metrics, turn=turn, pace=retention.pace)
        self.keys = Sweep("keys", self._free_keys, metrics=metrics, turn=turn, pace=retention.pace)

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """All that there is to sweep."""
        return self.events, self.threads, self.keys

    async def _delete_events(self, limit: int, after: datetime) -> Batch:
        limits = {"kept_s": self._retention.events_kept_s, "limit": limit, "after": after}
        async with sweep_transaction(self._pool) as connection:
            rows = await fetch(connection, retention.RUNS_WITH_OLD_EVENTS, limits)
            deleted = await _count(connection, retention.DELETE_EVENTS, {"run_ids": [row[0] for row in rows]})
        return Batch([row[1] for row in rows], deleted)

    async def _delete_threads(self, limit: int, after: datetime) -> Batch:
        async with sweep_transaction(self._pool) as connection:
            rows = await fetch(connection, retention.EXPIRED_THREADS, {"limit": limit, "after": after})
            deleted = await _delete_idle(connection, {row[0] for row in rows})
        return Batch([row[1] for row in rows], deleted)

    async def _free_keys(self, limit: int, after: datetime) -> Batch:
        async with sweep_transaction(self._pool) as connection:
            rows = await fetch(connection, retention.FREE_OLD_KEYS, {"limit": limit, "after": after})
        return Batch([row[1] for row in rows], len(rows))


async def _delete_idle(connection: Connection, expired: set[UUID]) -> int:
    # Looked up again behind the lock: a run may have been accepted between the snapshot and it.
    busy = await fetch(connection, retention.BUSY_THREADS, {"thread_ids": list(expired)})
    idle = expired - {row[0] for row in busy}
    for statement in threads.DELETE:
        await _count(connection, statement, {"thread_ids": list(idle)})
    return len(idle)


async def _count(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> int:
    """Returns how many rows a statement of this package touched."""
    return max(0, (await connection.execute(statement.encode(), parameters)).rowcount)
