"""What a scorer is, and the application of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flotilla_evaluator.model import Observation, Score


class Scorer(Protocol):
    """Measures one quality of a run; the same run always gets the same score."""

    @property
    def key(self) -> str:
        """Returns the name under which its scores are kept."""
        ...

    def score(self, observation: Observation) -> Score:
        """Returns a value from 0 to 1 and says in one sentence why."""
        ...


def score_all(observation: Observation, scorers: Sequence[Scorer]) -> list[Score]:
    """Returns one score of each scorer, ordered by key."""
    return sorted((scorer.score(observation) for scorer in scorers), key=lambda score: score.key)
