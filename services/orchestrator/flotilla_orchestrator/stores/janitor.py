"""Deletes what is kept for a time only, in batches small enough that writers do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flotilla_common.postgres import Pool, map_database_errors, system_transaction

from flotilla_orchestrator.stores.statements import retention, threads
from flotilla_orchestrator.stores.statements.execute import fetch


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept and how fast they go."""

    events_kept_s: float = 24 * 3600.0
    """After the run's end."""
    batch: int = 20
    """Runs or threads a statement."""
    pause_s: float = 0.1
    """Between two batches."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep deleted."""

    runs_with_events: int
    threads: int
    keys: int


class Janitor:
    """Sweeps the tables; several may run at once."""

    def __init__(self, pool: Pool, retention: Retention = Retention()) -> None:
        """Takes a pool that sees every tenant."""
        self._pool = pool
        self._retention = retention

    async def sweep(self) -> Swept:
        """Deletes everything that is due by now."""
        with map_database_errors():
            return Swept(
                runs_with_events=await self._until_done(self._delete_events),
                threads=await self._until_done(self._delete_threads),
                keys=await self._until_done(self._free_keys),
            )

    async def _until_done(self, batch: Callable[[], Awaitable[int]]) -> int:
        total = 0
        while done := await batch():
            total += done
            await asyncio.sleep(self._retention.pause_s)
        return total

    async def _delete_events(self) -> int:
        limits = {"kept_s": self._retention.events_kept_s, "limit": self._retention.batch}
        async with system_transaction(self._pool) as connection:
            rows = await fetch(connection, retention.RUNS_WITH_OLD_EVENTS, limits)
            await fetch(connection, retention.DELETE_EVENTS, {"run_ids": [row[0] for row in rows]})
        return len(rows)

    async def _delete_threads(self) -> int:
        async with system_transaction(self._pool) as connection:
            rows = await fetch(connection, retention.EXPIRED_THREADS, {"limit": self._retention.batch})
            expired = {row[0] for row in rows}
            # Looked up again behind the lock: a run may have been accepted between the snapshot and it.
            busy = await fetch(connection, retention.BUSY_THREADS, {"thread_ids": list(expired)})
            idle = expired - {row[0] for row in busy}
            for statement in threads.DELETE:
                await fetch(connection, statement, {"thread_ids": list(idle)})
        return len(idle)

    async def _free_keys(self) -> int:
        async with system_transaction(self._pool) as connection:
            return len(await fetch(connection, retention.FREE_OLD_KEYS, {"limit": self._retention.batch}))
