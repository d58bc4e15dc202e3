"""What a run's model calls cost, one entry a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flotilla_orchestrator.model import ModelUsage


class UsageLedger:
    """Adds up calls by model."""

    def __init__(self, usages: Iterable[ModelUsage | None] = ()) -> None:
        self._by_model: dict[str, ModelUsage] = {}
        for usage in usages:
            self.book(usage)

    @property
    def total(self) -> Sequence[ModelUsage]:
        """The sums, in the order of each model's first call."""
        return tuple(self._by_model.values())

    def book(self, usage: ModelUsage | None) -> None:
        """Adds a call, as far as its cost is known."""
        if usage is None:
            return
        known = self._by_model.get(usage.model, ModelUsage(usage.model, 0, 0, 0))
        self._by_model[usage.model] = ModelUsage(
            usage.model,
            known.input_tokens + usage.input_tokens,
            known.output_tokens + usage.output_tokens,
            known.cost_micro_usd + usage.cost_micro_usd,
        )
