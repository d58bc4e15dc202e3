"""The evaluator's own metrics; labels are the names of scorers."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from flotilla_evaluator.model import Score


class EvaluatorMetrics:
    """Counts observed runs and the distribution of their scores."""

    def __init__(self, registry: CollectorRegistry) -> None:
        observed = Counter("flotilla_evaluator_observations", "Runs shown.", ["result"], registry=registry)
        self._observed = {True: observed.labels("new"), False: observed.labels("known")}
        self._scores = Histogram(
            "flotilla_evaluator_score",
            "Scores given.",
            ["scorer"],
            buckets=(0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0),
            registry=registry,
        )

    def observed(self, scores: Sequence[Score], *, is_new: bool) -> None:
        """Counts one run, and its scores when it is new."""
        self._observed[is_new].inc()
        if is_new:
            for score in scores:
                self._scores.labels(score.key).observe(score.value)
