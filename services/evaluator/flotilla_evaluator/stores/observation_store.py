"""What a store of observations does; tests/contract/evaluator/test_store.py is the contract that runs."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from flotilla_evaluator.model import ObservationPage, PagePosition, ScoredObservation, Viewer


class ObservationStore(Protocol):
    """Keeps observed runs with their scores."""

    async def add(self, tenant_id: UUID, user_id: UUID, observed: ScoredObservation) -> bool:
        """Stores a run with its scores; returns False, and changes nothing, when the tenant has it already."""
        ...

    async def get(self, viewer: Viewer, run_id: UUID) -> ScoredObservation | None:
        """Returns a run that the viewer may see."""
        ...

    async def list_page(
        self, viewer: Viewer, *, agent: str | None, size: int, after: PagePosition | None
    ) -> ObservationPage:
        """Returns up to `size` runs older than `after`, newest first."""
        ...
