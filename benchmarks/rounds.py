"""A case from its first round to its last: peers take turns, so that the machine's moods fall on all of them alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.cases import Case, Peer
from benchmarks.client import Answer
from benchmarks.durability import lost_runs
from benchmarks.figures import Figures, Ratio, figures_of, ratios_of
from benchmarks.load import sample
from benchmarks.peers import Endpoint
from benchmarks.processes import resident_mb

_WARM_UP_S = 1.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    case: Case
    rounds: Sequence[Mapping[Peer, Figures]]
    ratios: Sequence[Ratio]
    acknowledged: int
    """Answers that the platform gave."""
    lost: Sequence[str]
    """Runs among them that are not stored as they were answered."""
    resident_mb: Mapping[str, int]

    @property
    def is_whole(self) -> bool:
        """Whether every chat of every peer was answered rightly, and every run is stored."""
        return not self.lost and all(
            figures.chats and not figures.errors for taken in self.rounds for figures in taken.values()
        )


async def run_case(case: Case, endpoints: Mapping[Peer, Endpoint]) -> Outcome:
    """Runs all rounds of a case; in every other round the peers' order is turned round."""
    for peer in case.peers:
        await sample(endpoints[peer], replace(case, seconds=_WARM_UP_S))
    rounds: list[dict[Peer, Figures]] = []
    answers: list[Answer] = []
    for number in range(case.rounds):
        taken: dict[Peer, Figures] = {}
        for peer in case.peers if number % 2 == 0 else reversed(case.peers):
            found = await sample(endpoints[peer], case)
            taken[peer] = figures_of(found)
            answers += found.ledger.answers if peer is Peer.FLOTILLA else ()
        rounds.append(taken)
    platform = endpoints[Peer.FLOTILLA]
    return Outcome(
        case=case,
        rounds=rounds,
        ratios=ratios_of(case, rounds),
        acknowledged=len(answers),
        lost=await lost_runs(platform, answers),
        resident_mb={name: resident_mb(pids) for name, pids in sorted(platform.pids.items())},
    )
