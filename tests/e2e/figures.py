"""The figures of a run, printed when it ends and kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from e2e.evidence import FOLDER

FIGURES: dict[str, Mapping[str, object]] = {}


def note(scenario: str, figures: Mapping[str, object]) -> None:
    """Keeps what a scenario measured."""
    FIGURES[scenario] = {**FIGURES.get(scenario, {}), **figures}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "figures.json").write_text(json.dumps(FIGURES, indent=2))


def lines() -> list[str]:
    """Returns all figures as text."""
    return [f"{scenario}: {json.dumps(figures)}" for scenario, figures in FIGURES.items()]
