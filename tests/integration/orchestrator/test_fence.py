"""Ownership: writers that never pause against claims, with the lock and without it."""

from __future__ import annotations

import asyncio
from itertools import count
from time import monotonic
from uuid import UUID, uuid4

import pytest
from fakes.runs import checkpoint, finished, new_run
from flotilla_common.postgres import Pool
from flotilla_orchestrator.model import NewRun, StoredEvent
from flotilla_orchestrator.stores.postgres_run_store import PostgresRunStore
from flotilla_orchestrator.stores.run_store import RunAppend
from flotilla_orchestrator.stores.statements import append as statements

OWNER = uuid4()
ROWS = """
SELECT run_id, epoch, seq FROM events
UNION ALL SELECT run_id, epoch, (metadata->>'seq')::int FROM checkpoints
"""


class Contest:
    """Writers of current and of lost epochs on one side, claims on the other, over a few runs."""

    def __init__(self, pool: Pool, *, runs: int = 20) -> None:
        self._pool = pool
        self._store = PostgresRunStore(pool)
        self._runs = [new_run() for _ in range(runs)]
        self._epochs = {run.run_id: 1 for run in self._runs}
        self._numbers = {run.run_id: count(2) for run in self._runs}
        self._claimed_at: dict[tuple[UUID, int], int] = {}
        """The last number that the claim of (run, epoch) saw: an older epoch may write nothing above it."""

    async def hold(self, *, claims: int, within_s: float) -> None:
        """Lets both sides run until so many claims succeeded or time is up."""
        await self._store.accept(self._runs, owner=OWNER)
        await self._store.release(self._epochs, owner=OWNER)
        groups = [self._runs[index::4] for index in range(4)]
        writers = [asyncio.create_task(self._write(group, age=0)) for group in groups]
        writers += [asyncio.create_task(self._write(group, age=1)) for group in groups[:2]]
        try:
            end = monotonic() + within_s
            while len(self._claimed_at) < claims and monotonic() < end:
                await self._claim()
        finally:
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)

    async def count_rows(self) -> tuple[int, int]:
        """Counts all rows, and those that an epoch wrote after the next one had begun."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(ROWS)).fetchall()
        stale = [
            number > self._claimed_at[run_id, epoch + 1]
            for run_id, epoch, number in rows
            if (run_id, epoch + 1) in self._claimed_at
        ]
        return len(rows), sum(stale)

    @property
    def claims(self) -> int:
        """How many claims succeeded."""
        return len(self._claimed_at)

    async def _write(self, runs: list[NewRun], *, age: int) -> None:
        while True:
            await self._store.append([self._append(run, self._epochs[run.run_id] - age) for run in runs])

    def _append(self, run: NewRun, epoch: int) -> RunAppend:
        number = next(self._numbers[run.run_id])
        row = checkpoint(run, metadata=b'{"seq": %d}' % number)
        return RunAppend(run.run_id, epoch, [StoredEvent(run.run_id, number, b"token")], [row])

    async def _claim(self) -> None:
        claimed = await self._store.claim(owner=OWNER, limit=len(self._runs))
        for run in claimed:
            self._claimed_at[run.run_id, run.epoch] = run.last_sequence
            self._epochs[run.run_id] = run.epoch
        await asyncio.sleep(0.002)
        await self._store.release({run.run_id: run.epoch for run in claimed}, owner=OWNER)


async def test_stale_epoch_writes_nothing_against_two_thousand_claims(pool: Pool) -> None:
    contest = Contest(pool)

    await contest.hold(claims=2000, within_s=90)

    rows, stale = await contest.count_rows()
    assert contest.claims >= 2000
    assert rows > 2000
    assert stale == 0


async def test_contest_finds_stale_rows_when_the_lock_is_taken_out(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    unlocked = statements.APPEND_ALL.replace("FOR KEY SHARE SKIP LOCKED", "")
    assert unlocked != statements.APPEND_ALL
    monkeypatch.setattr(statements, "APPEND_ALL", unlocked)
    contest = Contest(pool)

    await contest.hold(claims=500, within_s=60)

    _, stale = await contest.count_rows()
    assert stale > 0


BEAT = "UPDATE leases SET expires_at = now() + interval '6 s' WHERE run_id = %s"
CLAIM = "UPDATE leases SET epoch = epoch + 1 WHERE run_id = %s"
WAITERS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.mark.parametrize(("change", "ends"), [(BEAT, True), (CLAIM, False)], ids=["heartbeat", "claim"])
async def test_finish_waits_for_the_lease_and_looks_at_it_again(pool: Pool, change: str, ends: bool) -> None:
    store, run = PostgresRunStore(pool), new_run()
    await store.accept([run], owner=OWNER)

    async with asyncio.TaskGroup() as group, pool.connection() as connection, connection.transaction():
        await connection.execute(change, [run.run_id])
        finishing = group.create_task(store.finish([finished(run, 2)], owner=OWNER))
        await _wait_for_a_waiter(pool)

    assert finishing.result() == ({run.run_id} if ends else set())


async def _wait_for_a_waiter(pool: Pool) -> None:
    async with asyncio.timeout(10), pool.connection() as connection:
        while await (await connection.execute(WAITERS)).fetchone() == (0,):  # noqa: ASYNC110 - another session
            await asyncio.sleep(0.005)
