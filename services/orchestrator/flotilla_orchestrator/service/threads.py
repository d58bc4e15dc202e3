"""Threads: created, read, changed, searched and deleted for their owners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from flotilla_common.identity import Identity
from flotilla_common.ids import new_id

from flotilla_orchestrator.model import Json, Thread, ThreadState, ThreadStatus
from flotilla_orchestrator.runs.checkpoints.reader import CheckpointReader
from flotilla_orchestrator.service.checks import check_span, page_of
from flotilla_orchestrator.service.runs import DEFAULT_PAGE
from flotilla_orchestrator.stores.thread_store import ThreadQuery, ThreadStore

_DEFAULT_HISTORY = 20


class ThreadService:
    """Gives access to the caller's own threads."""

    def __init__(self, threads: ThreadStore, checkpoints: CheckpointReader) -> None:
        self._threads = threads
        self._checkpoints = checkpoints

    async def create(
        self, identity: Identity, thread_id: UUID | None, *, metadata: Json, ttl_s: float | None, may_exist: bool
    ) -> Thread:
        """Creates a thread. Raises AlreadyExistsError, and InvalidArgumentError for a life that is no time."""
        check_span(ttl_s, field="time_to_live")
        return await self._threads.create(
            thread_id or new_id(),
            tenant_id=identity.tenant_id,
            user_id=identity.user_id,
            metadata=metadata,
            ttl_s=ttl_s,
            may_exist=may_exist,
        )

    async def get(self, identity: Identity, thread_id: UUID) -> Thread:
        """Returns a thread. Raises NotFoundError."""
        return await self._threads.get(thread_id, tenant_id=identity.tenant_id, user_id=identity.user_id)

    async def update(self, identity: Identity, thread_id: UUID, *, metadata: Json) -> Thread:
        """Replaces the metadata's keys that are given. Raises NotFoundError."""
        return await self._threads.update_metadata(
            thread_id, tenant_id=identity.tenant_id, user_id=identity.user_id, metadata=metadata
        )

    async def delete(self, identity: Identity, thread_id: UUID) -> None:
        """Deletes a thread with everything in it. Raises NotFoundError and AbortedError (thread_busy)."""
        await self._threads.delete(thread_id, tenant_id=identity.tenant_id, user_id=identity.user_id)

    async def search(
        self,
        identity: Identity,
        *,
        metadata: Json,
        status: ThreadStatus | None,
        before: tuple[datetime, UUID] | None,
        page_size: int,
    ) -> tuple[Sequence[Thread], tuple[datetime, UUID] | None]:
        """Returns a page of threads, last updated first, and where the next one begins."""
        size = page_of(page_size, default=DEFAULT_PAGE)
        query = ThreadQuery(metadata, status, before, size + 1)
        found = await self._threads.search(query, tenant_id=identity.tenant_id, user_id=identity.user_id)
        last = found[size - 1] if len(found) > size else None
        return found[:size], (last.updated_at, last.thread_id) if last else None

    async def state(
        self, identity: Identity, thread_id: UUID, *, checkpoint_id: UUID | None, namespace: str
    ) -> ThreadState | None:
        """Returns a thread's state at its latest or a named checkpoint, None before its first. Raises NotFoundError."""
        await self.get(identity, thread_id)
        return await self._checkpoints.get_state(
            thread_id, tenant_id=identity.tenant_id, checkpoint_id=checkpoint_id, namespace=namespace
        )

    async def history(
        self, identity: Identity, thread_id: UUID, *, before: UUID | None, limit: int
    ) -> Sequence[ThreadState]:
        """Returns a thread's checkpoints, newest first. Raises NotFoundError."""
        await self.get(identity, thread_id)
        size = page_of(limit, default=_DEFAULT_HISTORY)
        return await self._checkpoints.list_history(thread_id, tenant_id=identity.tenant_id, before=before, limit=size)
