"""The run path on Postgres: each write is one statement for many runs, fenced by a row lock on their leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from flotilla_common.columns import Bigints, Doubles, Integers, Uuids
from flotilla_common.errors import AbortedError, FailedPreconditionError, NotFoundError
from flotilla_common.lane import fetch
from flotilla_common.postgres import Pool, map_database_errors

from flotilla_orchestrator.model import FinishedRun, NewRun, OutboxKind, OwnedRun, Run
from flotilla_orchestrator.stores.batches import write_batch
from flotilla_orchestrator.stores.run_store import DueOutboxEntry, RunAppend
from flotilla_orchestrator.stores.statements import accept as accepting
from flotilla_orchestrator.stores.statements import append as appending
from flotilla_orchestrator.stores.statements import finish as finishing
from flotilla_orchestrator.stores.statements import leases, outbox
from flotilla_orchestrator.stores.statements import runs as reads

_CANCELS_AT_ONCE = 100


class PostgresRunStore:
    """Implements RunStore.

    A write that is sent again after its answer was lost with the connection is recognised by the rows that are there.
    """

    def __init__(self, pool: Pool) -> None:
        """Takes a pool that sees every tenant."""
        self._pool = pool
        self._accepts, self._appends, self._finishes, self._others = (pool.lane() for _ in range(4))

    async def accept(self, runs: Sequence[NewRun], *, owner: UUID) -> set[UUID]:
        """Stores runs as running and owned."""
        with map_database_errors():
            return await write_batch(runs, partial(self._accept, owner=owner))

    async def explain_refusal(self, run: NewRun) -> Run:
        """Returns the run's twin, or raises what stands in its way."""
        scope = {
            "run_id": run.run_id,
            "tenant_id": run.tenant_id,
            "user_id": run.user_id,
            "thread_id": run.thread_id,
            "wire": run.wire,
            "idem_key": run.idempotency_key,
        }
        with map_database_errors():
            async with self._pool.connection() as connection:
                twins = _ids(await fetch(connection, accepting.TWINS, scope))
                threads = await fetch(connection, accepting.THREAD_IS_THEIRS, scope)
                found = [await fetch(connection, reads.GET_RUN_OF_TENANT, {**scope, "run_id": twin}) for twin in twins]
        for rows in found:
            return _same_request(reads.run_from(rows[0]), run)
        if (not threads and not run.create_thread) or (threads and not threads[0][0]):
            raise NotFoundError("the thread does not exist", reason="thread_not_found")
        raise AbortedError("another run works on the thread", reason="thread_busy")

    async def append(self, batch: Sequence[RunAppend]) -> set[UUID]:
        """Stores events, checkpoints and pending writes of the runs that are still owned."""
        with map_database_errors():
            return await write_batch(batch, self._append)

    async def finish(self, batch: Sequence[FinishedRun], *, owner: UUID) -> set[UUID]:
        """Ends the runs that are still owned."""
        with map_database_errors():
            return await write_batch(batch, partial(self._finish, owner=owner))

    async def release(self, runs: Mapping[UUID, int], *, owner: UUID) -> None:
        """Ends leases without spending an attempt."""
        await self._execute(leases.RELEASE, _owned_arrays(runs, owner))

    async def next_claim_s(self) -> float | None:
        """Returns the seconds until the next claim finds something."""
        seconds: float | None = (await self._execute(leases.NEXT_CLAIM, {}))[0][0]
        return seconds

    async def claim(self, *, owner: UUID, limit: int) -> Sequence[OwnedRun]:
        """Takes over runs whose lease has ended, and what is to be cancelled."""
        with map_database_errors():
            claimed = await self._claim(leases.CLAIM_CANCELLED, owner, _CANCELS_AT_ONCE)
            claimed += await self._claim(leases.CLAIM_WAITING, owner, _CANCELS_AT_ONCE)
            ended = await self._claim(leases.CLAIM, owner, limit) if limit else []
            if len(ended) < limit:
                with suppress(psycopg.errors.LockNotAvailable):
                    ended += await self._claim(leases.CLAIM_PATIENTLY, owner, limit - len(ended))
        return claimed + ended

    async def beat(self, runs: Mapping[UUID, int], *, owner: UUID) -> Mapping[UUID, bool]:
        """Extends leases; returns for each that is still owned whether a cancel was asked."""
        return dict(await self._execute(leases.BEAT, _owned_arrays(runs, owner)))

    async def request_cancel(self, run_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Run:
        """Stores the wish to cancel and returns the run."""
        scope = {"run_id": run_id, "tenant_id": tenant_id, "user_id": user_id}
        with map_database_errors():
            async with self._pool.connection() as connection:
                await connection.execute(leases.REQUEST_CANCEL, scope)
                rows = await fetch(connection, reads.GET_RUN, scope)
        if not rows:
            raise NotFoundError("the run does not exist", reason="run_not_found")
        return reads.run_from(rows[0])

    async def cancel_requests(self, runs: Sequence[UUID]) -> set[UUID]:
        """Returns those of the runs whose cancellation was asked for."""
        return {run_id for (run_id,) in await self._execute(leases.CANCEL_REQUESTS, {"run_id": Uuids(runs)})}

    async def due_outbox(self, *, limit: int, lock_s: float) -> Sequence[DueOutboxEntry]:
        """Takes entries that are due."""
        rows = await self._execute(outbox.DUE, {"limit": limit, "lock_s": lock_s})
        return [
            DueOutboxEntry(entry, tenant, user, run, OutboxKind(kind), payload, attempts, traceparent)
            for entry, tenant, user, run, kind, payload, attempts, traceparent in rows
        ]

    async def settle_outbox(self, sent: Sequence[int], *, retry_in_s: Mapping[int, float]) -> None:
        """Deletes sent entries and puts the failed ones off."""
        if sent:
            await self._execute(outbox.SENT, {"id": Bigints(sent)})
        if retry_in_s:
            await self._execute(outbox.PUT_OFF, {"id": Bigints(retry_in_s), "retry_in_s": Doubles(retry_in_s.values())})

    async def _accept(self, runs: Sequence[NewRun], owner: UUID) -> set[UUID]:
        arrays = accepting.accept_arrays(runs, owner)
        if any(run.idempotency_key for run in runs):
            await self._accepts.fetch(accepting.FREE_EXPIRED_KEYS, arrays)
        accepted = _ids(await self._accepts.fetch(accepting.ACCEPT, arrays))
        if len(accepted) < len(runs):
            accepted |= _ids(await self._accepts.fetch(accepting.ACCEPTED_BEFORE, arrays))
        return accepted

    async def _append(self, batch: Sequence[RunAppend]) -> set[UUID]:
        if any(entry.checkpoints or entry.writes for entry in batch):
            statement, arrays = appending.APPEND_ALL, appending.append_all_arrays(batch)
        else:
            statement, arrays = appending.APPEND_EVENTS, appending.append_arrays(batch)
        try:
            return _ids(await self._appends.fetch(statement, arrays))
        except psycopg.errors.UniqueViolation as exc:
            arrays = appending.append_all_arrays(batch)
            return await self._again(appending.APPEND_AGAIN, appending.EVENTS_OF_ANOTHER_EPOCH, arrays, exc)

    async def _finish(self, batch: Sequence[FinishedRun], owner: UUID) -> set[UUID]:
        has_writes = any(run.writes for run in batch)
        statement = finishing.FINISH_WITH_WRITES if has_writes else finishing.FINISH
        arrays = finishing.finish_arrays(batch, owner)
        try:
            ended = _ids(await self._finishes.fetch(statement, arrays))
        except psycopg.errors.UniqueViolation as exc:
            ended = await self._again(finishing.FINISH_AGAIN, finishing.EVENTS_OF_ANOTHER_EPOCH, arrays, exc)
        if missing := [run for run in batch if run.run_id not in ended]:
            ended |= _ids(await self._finishes.fetch(finishing.FINISHED_BEFORE, finishing.terminal_arrays(missing)))
        return ended

    async def _again(
        self, statement: str, conflicts: str, arrays: Mapping[str, Any], violation: psycopg.errors.UniqueViolation
    ) -> set[UUID]:
        """Writes what is not there yet; raises the violation if what is there is not ours."""
        async with self._pool.connection() as connection, connection.transaction():
            written = _ids(await fetch(connection, statement, arrays))
            if await fetch(connection, conflicts, {**arrays, "owned": Uuids(written)}):
                raise violation
        return written

    async def _claim(self, statement: str, owner: UUID, limit: int) -> list[OwnedRun]:
        async with self._pool.connection() as connection:
            await connection.execute(leases.BEGIN_BOUNDED)
            rows = await fetch(connection, statement, {"owner": owner, "limit": limit})
            if not rows:
                return []
            last = dict(await fetch(connection, leases.LAST_SEQUENCES, {"run_id": Uuids(row[0] for row in rows)}))
        return [leases.owned_run_from(row, last.get(row[0], 0)) for row in rows]

    async def _execute(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with map_database_errors():
            return await self._others.fetch(statement, parameters)


def _ids(rows: Sequence[tuple[Any, ...]]) -> set[UUID]:
    """Returns the run ids that a statement returned."""
    return {row[0] for row in rows}


def _owned_arrays(runs: Mapping[UUID, int], owner: UUID) -> Mapping[str, Any]:
    return {"run_id": Uuids(runs), "epoch": Integers(runs.values()), "owner": owner}


def _same_request(twin: Run, run: NewRun) -> Run:
    if (twin.user_id, twin.body_hash) != (run.user_id, run.body_hash):
        raise FailedPreconditionError(
            "the idempotency key was used with another request", reason="idempotency_key_reused"
        )
    return twin
