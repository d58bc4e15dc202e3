"""Reads of runs and of the event log in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from flotilla_common.errors import NotFoundError

from flotilla_orchestrator.model import Run, StoredEvent
from flotilla_orchestrator.stores.in_memory.state import InMemoryState
from flotilla_orchestrator.stores.run_store import is_full


class InMemoryRunReader:
    """Implements RunReader."""

    def __init__(self, state: InMemoryState) -> None:
        self._state = state

    async def get_run(self, run_id: UUID, *, tenant_id: UUID, user_id: UUID) -> Run:
        """Returns a run with its usage."""
        run = self._state.runs.get(run_id)
        if run is None or (run.new.tenant_id, run.new.user_id) != (tenant_id, user_id):
            raise NotFoundError("the run does not exist", reason="run_not_found")
        return run.to_run()

    async def list_runs(
        self, thread_id: UUID, *, tenant_id: UUID, user_id: UUID, before: UUID | None = None, limit: int = 50
    ) -> Sequence[Run]:
        """Returns a thread's runs, newest first."""
        wanted = (thread_id, tenant_id, user_id)
        runs = [
            run.to_run()
            for run_id, run in sorted(self._state.runs.items(), reverse=True)
            if (run.new.thread_id, run.new.tenant_id, run.new.user_id) == wanted and (not before or run_id < before)
        ]
        return runs[:limit]


class InMemoryEventReader:
    """Implements EventReader."""

    def __init__(self, state: InMemoryState) -> None:
        self._state = state

    async def read(self, run_id: UUID, *, after_sequence: int, limit: int = 500) -> Sequence[StoredEvent]:
        """Returns a page of the events after a sequence number, in order."""
        page: list[StoredEvent] = []
        for event in self._after(run_id, after_sequence):
            if is_full(page, limit=limit):
                break
            page.append(event)
        return page

    async def read_many(self, positions: Mapping[UUID, int]) -> Sequence[StoredEvent]:
        """Returns the events of many runs after each one's position."""
        found: list[StoredEvent] = []
        for run_id, after_sequence in sorted(positions.items()):
            found += self._after(run_id, after_sequence)
        return found

    def _after(self, run_id: UUID, sequence: int) -> list[StoredEvent]:
        log = sorted(self._state.events.get(run_id, {}).items())
        return [StoredEvent(run_id, number, row[1]) for number, row in log if number > sequence]
