"""What a part is, and how it is measured: sides take turns, and only ratios within a round are compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

Take = Callable[[float], Mapping[str, float]]
"""Takes a round of so many seconds; returns microseconds by figure. Raises WrongContentError."""
Open = Callable[[Path], AbstractContextManager[Take]]
"""Starts a side in a folder of its own."""
_WARM_UP_SHARE = 0.5


class WrongContentError(Exception):
    """Something was done fast and wrong."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that can be done in several ways."""

    name: str
    sides: Mapping[str, Open]
    """The ways by name, ours first."""
    seconds: float
    """Of each round, for each side."""
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure of ours beside another side's: medians in microseconds, and the ratio of each round."""

    figure: str
    ours: str
    beside: str
    ours_us: float
    beside_us: float
    median: float
    least: float
    greatest: float
    rounds: Sequence[float]


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """What came of a part."""

    part: str
    rounds: list[Mapping[str, Mapping[str, float]]] = field(default_factory=list)
    """Of each round the figures by side."""
    errors: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether all that was done was right."""
        return bool(self.rounds) and not self.errors

    @property
    def comparisons(self) -> list[Comparison]:
        """Every figure of ours beside every other side's."""
        if not self.rounds:
            return []
        ours, *others = self.rounds[0]
        return [_compared(self.rounds, figure, ours, other) for other in others for figure in self.rounds[0][ours]]


def run_part(part: Part, work: Path) -> PartOutcome:
    """Runs all rounds of a part, or those until something was wrong; in every other one the order is turned round."""
    outcome = PartOutcome(part.name)
    with ExitStack() as stack:
        try:
            takes = {name: stack.enter_context(start(_folder(work, name))) for name, start in part.sides.items()}
            for take in takes.values():
                take(part.seconds * _WARM_UP_SHARE)
            for number in range(part.rounds):
                order = list(takes) if number % 2 == 0 else list(reversed(takes))
                taken = {name: takes[name](part.seconds) for name in order}
                outcome.rounds.append({name: taken[name] for name in takes})
        except WrongContentError as error:
            outcome.errors.append(f"{part.name}: {error}"[:300])
    return outcome


def _folder(work: Path, name: str) -> Path:
    folder = work / name.replace(" ", "-")
    folder.mkdir(parents=True)
    return folder


def _compared(rounds: Sequence[Mapping[str, Mapping[str, float]]], figure: str, ours: str, other: str) -> Comparison:
    pairs = [(taken[ours][figure], taken[other][figure]) for taken in rounds]
    ratios = [round(mine / max(theirs, 1e-9), 3) for mine, theirs in pairs]
    return Comparison(
        figure=figure,
        ours=ours,
        beside=other,
        ours_us=round(statistics.median(mine for mine, _ in pairs), 2),
        beside_us=round(statistics.median(theirs for _, theirs in pairs), 2),
        median=round(statistics.median(ratios), 3),
        least=min(ratios),
        greatest=max(ratios),
        rounds=ratios,
    )
