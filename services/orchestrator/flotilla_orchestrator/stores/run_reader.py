"""Reads of runs for their owners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from flotilla_orchestrator.model import Run


class RunReader(Protocol):
    """Finds runs; what belongs to another tenant or user is not there."""

    async def get_run(self, run_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Run:
        """Returns a run with its usage. Raises NotFoundError."""
        ...

    async def list_runs(
        self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, before: UUID | None = None, limit: int = 50
    ) -> Sequence[Run]:
        """Returns a thread's runs, newest first, only those before a run id where it is given."""
        ...
