"""The reference store, in plain Python."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from flotilla_evaluator.model import ObservationPage, PagePosition, ScoredObservation, Viewer


class InMemoryObservationStore:
    """Keeps observations in the process; for tests."""

    def __init__(self) -> None:
        self._rows: dict[tuple[UUID, UUID], tuple[UUID, ScoredObservation]] = {}

    async def add(self, tenant_id: UUID, user_id: UUID, observed: ScoredObservation) -> bool:
        """Stores a run where there is none."""
        key = (tenant_id, observed.observation.run_id)
        return self._rows.setdefault(key, (user_id, observed))[1] is observed

    async def get(self, viewer: Viewer, run_id: UUID) -> ScoredObservation | None:
        """Returns a run of the viewer."""
        owner, observed = self._rows.get((viewer.tenant_id, run_id), (None, None))
        return observed if viewer.user_id in (None, owner) else None

    async def list_page(
        self, viewer: Viewer, *, agent: str | None, size: int, after: PagePosition | None
    ) -> ObservationPage:
        """Sorts the viewer's runs and cuts a page out."""
        seen = [
            observed
            for (tenant_id, _), (owner, observed) in self._rows.items()
            if tenant_id == viewer.tenant_id
            and viewer.user_id in (None, owner)
            and agent in (None, observed.observation.agent)
            and (after is None or _age(observed) < (after.finished_at, after.run_id))
        ]
        seen.sort(key=_age, reverse=True)
        return ObservationPage(seen[:size], PagePosition(*_age(seen[size - 1])) if len(seen) > size else None)


def _age(observed: ScoredObservation) -> tuple[datetime, UUID]:
    return observed.observation.finished_at, observed.observation.run_id
