"""Threads in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from flotilla_common.errors import AbortedError, AlreadyExistsError, NotFoundError

from flotilla_orchestrator.model import Json, RunStatus, Thread, ThreadStatus
from flotilla_orchestrator.stores.in_memory.checkpoint_store import contains
from flotilla_orchestrator.stores.in_memory.state import InMemoryState, ThreadRecord
from flotilla_orchestrator.stores.thread_store import ThreadQuery

_STATUS = {
    RunStatus.QUEUED: ThreadStatus.BUSY,
    RunStatus.RUNNING: ThreadStatus.BUSY,
    RunStatus.WAITING: ThreadStatus.INTERRUPTED,
    RunStatus.FAILED: ThreadStatus.ERROR,
    RunStatus.TIMED_OUT: ThreadStatus.ERROR,
    RunStatus.DEAD_LETTERED: ThreadStatus.ERROR,
}


class InMemoryThreadStore:
    """Implements ThreadStore."""

    def __init__(self, state: InMemoryState) -> None:
        self._state = state

    async def create(
        self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, metadata: Json, ttl_s: float | None, may_exist: bool
    ) -> Thread:
        """Creates a thread, or returns the user's own when it may exist."""
        there = self._state.threads.get(thread_id)
        if there is not None:
            if may_exist and (there.tenant_id, there.user_id) == (tenant_id, user_id):
                return self._read(there)
            raise AlreadyExistsError("the thread id is taken", reason="thread_exists", field="thread_id")
        ttl, now = None if ttl_s is None else timedelta(seconds=ttl_s), self._state.now()
        self._state.threads[thread_id] = ThreadRecord(
            thread_id, tenant_id, user_id, dict(metadata), ttl, False, now, now
        )
        return self._read(self._state.threads[thread_id])

    async def get(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Thread:
        """Returns a thread."""
        return self._read(self._find(thread_id, tenant_id, user_id))

    async def update_metadata(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, metadata: Json) -> Thread:
        """Replaces the keys that are given and keeps the others."""
        thread = self._find(thread_id, tenant_id, user_id)
        thread.metadata = {**thread.metadata, **metadata}
        thread.updated_at = self._state.now()
        return self._read(thread)

    async def delete(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID) -> None:
        """Deletes a thread with its runs, checkpoints and events."""
        thread = self._find(thread_id, tenant_id, user_id)
        if self._read(thread).status is ThreadStatus.BUSY:
            raise AbortedError("a run works on the thread", reason="thread_busy")
        self._state.drop_thread(thread_id)

    async def search(self, query: ThreadQuery, *, tenant_id: UUID, user_id: UUID) -> Sequence[Thread]:
        """Returns a user's threads, last updated first."""
        mine = [
            self._read(thread)
            for thread in self._state.threads.values()
            if (thread.tenant_id, thread.user_id, thread.is_ephemeral) == (tenant_id, user_id, False)
        ]
        fitting = [
            thread
            for thread in mine
            if contains(thread.metadata, query.metadata)
            and query.status in (None, thread.status)
            and (query.before is None or (thread.updated_at, thread.thread_id) < query.before)
        ]
        fitting.sort(key=lambda thread: (thread.updated_at, thread.thread_id), reverse=True)
        return fitting[: query.limit]

    def _find(self, thread_id: UUID, tenant_id: UUID, user_id: UUID) -> ThreadRecord:
        thread = self._state.threads.get(thread_id)
        if thread is None or (thread.tenant_id, thread.user_id) != (tenant_id, user_id):
            raise NotFoundError("the thread does not exist", reason="thread_not_found")
        return thread

    def _read(self, thread: ThreadRecord) -> Thread:
        runs = [run_id for run_id, run in self._state.runs.items() if run.new.thread_id == thread.thread_id]
        last = self._state.runs[max(runs)].status if runs else RunStatus.SUCCEEDED
        return thread.to_thread(_STATUS.get(last, ThreadStatus.IDLE))
