"""Threads: conversations that keep their state between runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from flotilla_orchestrator.model import Json, Thread, ThreadStatus


@dataclass(frozen=True, slots=True)
class ThreadQuery:
    """Which of a user's threads are asked for."""

    metadata: Json
    """A thread matches when its metadata contains this."""
    status: ThreadStatus | None = None
    before: tuple[datetime, UUID] | None = None
    """The `updated_at` and id of the last thread of the page before."""
    limit: int = 50


class ThreadStore(Protocol):
    """Keeps threads; what belongs to another tenant or user is not there. Ephemeral threads are found by id only."""

    async def create(
        self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, metadata: Json, ttl_s: float | None, may_exist: bool
    ) -> Thread:
        """Creates a thread, or returns the user's own when it may exist. Raises AlreadyExistsError."""
        ...

    async def get(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Thread:
        """Returns a thread. Raises NotFoundError."""
        ...

    async def update_metadata(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, metadata: Json) -> Thread:
        """Replaces the keys that are given and keeps the others. Raises NotFoundError."""
        ...

    async def delete(self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID) -> None:
        """Deletes a thread with its runs, checkpoints and events; the usage ledger stays.

        Raises NotFoundError and, while a run works on it, AbortedError (reason thread_busy).
        """
        ...

    async def search(self, query: ThreadQuery, *, tenant_id: UUID, user_id: UUID) -> Sequence[Thread]:
        """Returns a user's threads, last updated first."""
        ...
