"""What the evaluator does: keeps what it is shown, once for each run, and scores it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from flotilla_common.errors import InvalidArgumentError, NotFoundError
from flotilla_common.identity import Identity

from flotilla_evaluator.metrics import EvaluatorMetrics
from flotilla_evaluator.model import (
    Observation,
    ObservationPage,
    PagePosition,
    Score,
    ScoredObservation,
    Viewer,
)
from flotilla_evaluator.scorers.scorer import Scorer, score_all
from flotilla_evaluator.stores.observation_store import ObservationStore

ADMIN_SCOPE = "admin"
_LONGEST_NAME = 256
_LARGEST_PAGE = 200
_DEFAULT_PAGE = 50
_MOST_SCORED_AT_ONCE = 16 * 1024
"""Characters, which take a few milliseconds; for less a thread costs more than it saves."""


class EvaluatorService:
    """Observes and shows runs; a person sees their own, an administrator the tenant's."""

    def __init__(self, *, store: ObservationStore, scorers: Sequence[Scorer], metrics: EvaluatorMetrics) -> None:
        self._store = store
        self._scorers = scorers
        self._metrics = metrics

    async def observe(self, caller: Identity, observation: Observation) -> tuple[bool, Sequence[Score]]:
        """Stores and scores a run; returns False and the scores that are kept when it was observed before.

        Raises InvalidArgumentError when the observation has no agent.
        """
        if not 1 <= len(observation.agent) <= _LONGEST_NAME:
            raise InvalidArgumentError(
                f"An observation has an agent of 1 to {_LONGEST_NAME} characters.", field="observation.agent"
            )
        scored = ScoredObservation(observation, await self._score(observation))
        is_new = await self._store.add(caller.tenant_id, caller.user_id, scored)
        self._metrics.observed(scored.scores, is_new=is_new)
        if is_new:
            return True, scored.scores
        kept = await self._store.get(_viewer(caller), observation.run_id)
        return False, kept.scores if kept is not None else ()

    async def get_observation(self, caller: Identity, run_id: UUID) -> ScoredObservation:
        """Returns a run with its scores. Raises NotFoundError."""
        observed = await self._store.get(_viewer(caller), run_id)
        if observed is None:
            raise NotFoundError("This run was not observed.")
        return observed

    async def list_observations(
        self, caller: Identity, *, agent: str, page_size: int, after: PagePosition | None
    ) -> ObservationPage:
        """Returns a page of runs, newest first. Raises InvalidArgumentError."""
        if not 0 <= page_size <= _LARGEST_PAGE:
            raise InvalidArgumentError(f"A page has 1 to {_LARGEST_PAGE} runs.", field="page_size")
        return await self._store.list_page(
            _viewer(caller), agent=agent or None, size=page_size or _DEFAULT_PAGE, after=after
        )

    async def _score(self, observation: Observation) -> Sequence[Score]:
        if observation.characters <= _MOST_SCORED_AT_ONCE:
            return score_all(observation, self._scorers)
        # A long run takes seconds, in which others are served.
        return await asyncio.to_thread(score_all, observation, self._scorers)


def _viewer(caller: Identity) -> Viewer:
    return Viewer(caller.tenant_id, None if ADMIN_SCOPE in caller.scopes else caller.user_id)
