"""The run path in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from flotilla_common.errors import AbortedError, FailedPreconditionError, NotFoundError

from flotilla_orchestrator.model import FinishedRun, NewRun, OwnedRun, Run, RunStatus, StoredEvent
from flotilla_orchestrator.stores.in_memory.checkpoint_store import put_checkpoint, put_writes
from flotilla_orchestrator.stores.in_memory.state import InMemoryState, LeaseRecord, RunRecord, ThreadRecord
from flotilla_orchestrator.stores.run_store import DueOutboxEntry, RunAppend

LEASE = timedelta(seconds=6)
KEY_LIFE = timedelta(hours=24)
CANCEL_GRACE = timedelta(seconds=1.5)


class InMemoryRunStore:
    """Implements RunStore for one process."""

    def __init__(self, state: InMemoryState) -> None:
        self._state = state

    async def accept(self, runs: Sequence[NewRun], *, owner: UUID) -> set[UUID]:
        """Stores runs as running and owned."""
        return {run.run_id for run in runs if self._was_accepted(run, owner) or self._accept(run, owner)}

    async def explain_refusal(self, run: NewRun) -> Run:
        """Returns the run's twin, or raises what stands in its way."""
        if twin := self._twin(run):
            if (twin.new.user_id, twin.new.body_hash) != (run.user_id, run.body_hash):
                raise FailedPreconditionError(
                    "the idempotency key was used with another request", reason="idempotency_key_reused"
                )
            return twin.to_run()
        thread = self._state.threads.get(run.thread_id)
        if (thread is None and not run.create_thread) or (thread is not None and not _owns(thread, run)):
            raise NotFoundError("the thread does not exist", reason="thread_not_found")
        raise AbortedError("another run works on the thread", reason="thread_busy")

    async def append(self, batch: Sequence[RunAppend]) -> set[UUID]:
        """Stores events, checkpoints and pending writes of the runs that are still owned."""
        owned = [entry for entry in batch if self._is_owned(entry.run_id, entry.epoch)]
        return {entry.run_id for entry in owned if self._append(entry)}

    async def finish(self, batch: Sequence[FinishedRun], *, owner: UUID) -> set[UUID]:
        """Ends the runs that are still owned."""
        return {run.run_id for run in batch if self._is_ended_by(run) or self._finish(run, owner)}

    async def release(self, runs: Mapping[UUID, int], *, owner: UUID) -> None:
        """Ends leases without spending an attempt."""
        for lease in self._leases_of(runs, owner).values():
            lease.expires_at = self._state.now() - timedelta(microseconds=1)
            lease.is_handed_back = True

    async def next_claim_s(self) -> float | None:
        """Returns the seconds until the next claim finds something."""
        now = self._state.now()
        moments = [lease.expires_at for lease in self._state.leases.values()]
        moments += [moment for moment, _ in self._heeded_by().values()]
        moments += [now for _ in self._cancelled_while_waiting()]
        return min(((moment - now).total_seconds() for moment in moments), default=None)

    async def claim(self, *, owner: UUID, limit: int) -> Sequence[OwnedRun]:
        """Takes over runs whose lease has ended, and what is to be cancelled."""
        now = self._state.now()
        due = [item for item in self._state.leases.items() if item[1].expires_at < now]
        due = sorted(due, key=lambda item: item[1].expires_at)[:limit]
        unheeded = {run_id: lease for run_id, (moment, lease) in self._heeded_by().items() if moment < now}
        claimed = [self._claim(run_id, lease, owner) for run_id, lease in due if run_id not in unheeded]
        for run_id, lease in unheeded.items():
            claimed.append(self._claim(run_id, replace(lease, is_handed_back=True), owner))
        for run_id in self._cancelled_while_waiting():
            lease = LeaseRecord(owner, self._state.runs[run_id].epoch, now, now, is_handed_back=True)
            claimed.append(self._claim(run_id, lease, owner))
        return claimed

    async def beat(self, runs: Mapping[UUID, int], *, owner: UUID) -> Mapping[UUID, bool]:
        """Extends leases; returns for each that is still owned whether a cancel was asked."""
        leases = {run_id: one for run_id, one in self._leases_of(runs, owner).items() if not one.is_handed_back}
        for lease in leases.values():
            lease.expires_at = self._state.now() + LEASE
        return {run_id: self._state.runs[run_id].cancel_at is not None for run_id in leases}

    async def request_cancel(self, run_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Run:
        """Stores the wish to cancel and returns the run."""
        run = self._state.runs.get(run_id)
        if run is None or (run.new.tenant_id, run.new.user_id) != (tenant_id, user_id):
            raise NotFoundError("the run does not exist", reason="run_not_found")
        if not run.status.is_terminal:
            run.cancel_at = run.cancel_at or self._state.now()
        return run.to_run()

    async def cancel_requests(self, runs: Sequence[UUID]) -> set[UUID]:
        """Returns those of the runs whose cancellation was asked for."""
        return {run_id for run_id in runs if (run := self._state.runs.get(run_id)) and run.cancel_at}

    async def due_outbox(self, *, limit: int, lock_s: float) -> Sequence[DueOutboxEntry]:
        """Takes entries that are due."""
        now = self._state.now()
        due = sorted((due_at, key) for key, (_, due_at) in self._state.outbox.items() if due_at <= now)[:limit]
        for _, key in due:
            entry = self._state.outbox[key][0]
            taken = replace(entry, attempts=entry.attempts + 1)
            self._state.outbox[key] = (taken, now + timedelta(seconds=lock_s))
        return [self._state.outbox[key][0] for _, key in due]

    async def settle_outbox(self, sent: Sequence[int], *, retry_in_s: Mapping[int, float]) -> None:
        """Deletes sent entries and puts the failed ones off."""
        for key in sent:
            self._state.outbox.pop(key, None)
        for key, delay_s in retry_in_s.items():
            entry, _ = self._state.outbox[key]
            self._state.outbox[key] = (entry, self._state.now() + timedelta(seconds=delay_s))

    def _heeded_by(self) -> dict[UUID, tuple[datetime, LeaseRecord]]:
        """Returns the owned runs that are to be cancelled, and until when their owner may do it."""
        return {
            run_id: (max(asked_at, lease.claimed_at) + CANCEL_GRACE, lease)
            for run_id, lease in self._state.leases.items()
            if (asked_at := self._state.runs[run_id].cancel_at)
        }

    def _cancelled_while_waiting(self) -> list[UUID]:
        return [
            run_id
            for run_id, run in self._state.runs.items()
            if run.status is RunStatus.WAITING and run.cancel_at and run_id not in self._state.leases
        ]

    def _was_accepted(self, run: NewRun, owner: UUID) -> bool:
        lease = self._state.leases.get(run.run_id)
        first = self._state.events.get(run.run_id, {}).get(1)
        return lease is not None and (lease.owner, lease.epoch, first) == (owner, 1, (1, run.accepted_event))

    def _accept(self, run: NewRun, owner: UUID) -> bool:
        self._free_expired_key(run)
        if self._twin(run) or self._is_busy(run.thread_id) or not self._use_thread(run):
            return False
        now = self._state.now()
        self._state.tenants[run.thread_id] = run.tenant_id
        self._state.runs[run.run_id] = RunRecord(run, now, run.idempotency_key)
        self._state.leases[run.run_id] = LeaseRecord(owner, 1, now + LEASE, now)
        self._state.events[run.run_id] = {1: (1, run.accepted_event)}
        return True

    def _free_expired_key(self, run: NewRun) -> None:
        twin = self._twin(run)
        if twin and twin.new.run_id != run.run_id and twin.created_at < self._state.now() - KEY_LIFE:
            twin.idempotency_key = None

    def _twin(self, run: NewRun) -> RunRecord | None:
        same = self._state.runs.get(run.run_id)
        if same and (same.new.tenant_id, same.new.user_id) == (run.tenant_id, run.user_id):
            return same
        scope = (run.tenant_id, run.wire, run.idempotency_key)
        for other in self._state.runs.values():
            if run.idempotency_key and (other.new.tenant_id, other.new.wire, other.idempotency_key) == scope:
                return other
        return None

    def _is_busy(self, thread_id: UUID) -> bool:
        return any(
            run.new.thread_id == thread_id and run.status is RunStatus.RUNNING for run in self._state.runs.values()
        )

    def _use_thread(self, run: NewRun) -> bool:
        now = self._state.now()
        thread = self._state.threads.get(run.thread_id)
        if thread is None and run.create_thread:
            ttl = None if run.thread_ttl_s is None else timedelta(seconds=run.thread_ttl_s)
            thread = ThreadRecord(run.thread_id, run.tenant_id, run.user_id, {}, ttl, ttl is not None, now, now)
            self._state.threads[run.thread_id] = thread
        if thread is None or not _owns(thread, run):
            return False
        thread.updated_at = now
        return True

    def _append(self, entry: RunAppend) -> bool:
        if not self._put_events(entry.run_id, entry.epoch, entry.events):
            return False
        for row in entry.checkpoints:
            put_checkpoint(self._state, row)
        for writes in entry.writes:
            put_writes(self._state, writes)
        return True

    def _put_events(self, run_id: UUID, epoch: int, events: Sequence[StoredEvent]) -> bool:
        log = self._state.events[run_id]
        new = {event.sequence: (epoch, event.payload) for event in events}
        if any(log.get(sequence, row) != row for sequence, row in new.items()):
            return False
        log.update(new)
        return True

    def _finish(self, run: FinishedRun, owner: UUID) -> bool:
        if not self._leases_of({run.run_id: run.epoch}, owner):
            return False
        appended = RunAppend(
            run.run_id, run.epoch, [*run.events, run.terminal_event], list(run.checkpoints), list(run.writes)
        )
        if not self._append(appended):
            return False
        record = self._state.runs[run.run_id]
        record.status, record.end = run.status, run
        record.finished_at = self._state.now() if run.status.is_terminal else None
        del self._state.leases[run.run_id]
        self._fill_outbox(record.new, run)
        return True

    def _fill_outbox(self, new: NewRun, run: FinishedRun) -> None:
        for entry in run.outbox:
            key = max(self._state.outbox, default=0) + 1
            due = DueOutboxEntry(
                key, new.tenant_id, new.user_id, new.run_id, entry.kind, entry.payload, 0, new.traceparent
            )
            self._state.outbox[key] = (due, self._state.now())

    def _is_ended_by(self, run: FinishedRun) -> bool:
        last = self._state.events.get(run.run_id, {}).get(run.terminal_event.sequence)
        return last == (run.epoch, run.terminal_event.payload)

    def _is_owned(self, run_id: UUID, epoch: int) -> bool:
        lease = self._state.leases.get(run_id)
        return lease is not None and lease.epoch == epoch

    def _leases_of(self, runs: Mapping[UUID, int], owner: UUID) -> dict[UUID, LeaseRecord]:
        found = {run_id: self._state.leases.get(run_id) for run_id in runs}
        return {
            run_id: lease
            for run_id, lease in found.items()
            if lease is not None and (lease.owner, lease.epoch) == (owner, runs[run_id])
        }

    def _claim(self, run_id: UUID, lease: LeaseRecord, owner: UUID) -> OwnedRun:
        record, now = self._state.runs[run_id], self._state.now()
        record.attempt += not lease.is_handed_back
        record.epoch = lease.epoch + 1
        self._state.leases[run_id] = LeaseRecord(owner, record.epoch, now + LEASE, now)
        new = record.new
        return OwnedRun(
            run_id=run_id,
            tenant_id=new.tenant_id,
            user_id=new.user_id,
            remembers=new.remembers,
            thread_id=new.thread_id,
            agent=new.agent,
            release=new.release,
            epoch=record.epoch,
            attempt=record.attempt,
            input=new.input,
            last_sequence=max(self._state.events[run_id]),
            remaining_s=new.time_limit_s - (now - record.created_at).total_seconds(),
            traceparent=new.traceparent,
            cancel_requested=record.cancel_at is not None,
        )


def _owns(thread: ThreadRecord, run: NewRun) -> bool:
    return (thread.tenant_id, thread.user_id) == (run.tenant_id, run.user_id)
