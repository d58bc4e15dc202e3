"""Deletes results that nobody can ask for again; an intent without result stays, for an operator to look at."""

from __future__ import annotations

import asyncio
from datetime import datetime

from flotilla_common.postgres import Pool
from flotilla_common.sweeps import PACE, Batch, Pace, Sweep, SweepMetrics, sweep_transaction

# The key is long, so rows are found by their place, which the lock keeps until they are gone.
DELETE_OLD_RESULTS = """
DELETE FROM invocations
WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM invocations
  WHERE outcome IS NOT NULL AND finished_at < now() - make_interval(secs => %(kept_s)s)
    AND finished_at >= %(after)s::timestamptz - make_interval(secs => %(kept_s)s)
  ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING finished_at + make_interval(secs => %(kept_s)s)
"""


class Janitor:
    """Sweeps the ledger; several may do so at once."""

    def __init__(self, pool: Pool, metrics: SweepMetrics, *, kept_s: float, pace: Pace = PACE) -> None:
        """Takes a pool that sees every tenant."""
        self._pool = pool
        self._kept_s = kept_s
        self.results = Sweep("results", self._delete_results, metrics=metrics, turn=asyncio.Lock(), pace=pace)

    async def _delete_results(self, limit: int, after: datetime) -> Batch:
        limits = {"kept_s": self._kept_s, "limit": limit, "after": after}
        async with sweep_transaction(self._pool) as connection:
            rows = await (await connection.execute(DELETE_OLD_RESULTS, limits)).fetchall()
        return Batch([row[0] for row in rows], len(rows))
