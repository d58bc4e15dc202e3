"""An orchestrator is killed while streams run: what the clients see, and whether anything is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case, Pace
from benchmarks.client import Answer
from benchmarks.durability import lost_runs
from benchmarks.load import sample
from benchmarks.peers import Endpoint
from benchmarks.platform import Platform, find_platform, kill_one, running_platform

CASE = Case(
    "orchestrator killed", 16, tokens=50, is_streamed=True, pace=Pace.EVERY_20_MS, seconds=20, peers=(), rounds=1
)
_KILLED_AFTER_S = (4.0, 12.0)


@dataclass(frozen=True, slots=True)
class CrashOutcome:
    """What came of it."""

    kills: int
    acknowledged: int
    errors: int
    error_examples: list[str]
    lost: list[str]
    slowest_s: float

    @property
    def is_whole(self) -> bool:
        """Whether no client saw an error and nothing is lost."""
        return self.acknowledged > 0 and not self.errors and not self.lost


async def kill_orchestrators(home: Path, model_url: str) -> CrashOutcome:
    """Kills one of two orchestrators, twice, under streamed load."""
    with running_platform(home, model_url=model_url, replicas="orchestrator=2") as platform:
        endpoint = as_endpoint(platform)
        killer = asyncio.create_task(_kill(home))
        ledger = (await sample(endpoint, CASE)).ledger
        await killer
        answers: list[Answer] = ledger.answers
        return CrashOutcome(
            kills=len(_KILLED_AFTER_S),
            acknowledged=len(answers),
            errors=len(ledger.errors),
            error_examples=ledger.errors[:3],
            lost=await lost_runs(endpoint, answers),
            slowest_s=round(max(ledger.total_s, default=0.0), 2),
        )


def as_endpoint(platform: Platform, *, left_out: frozenset[str] = frozenset()) -> Endpoint:
    """Returns where a platform answers."""
    pids: Mapping[str, tuple[int, ...]] = {
        name: tuple(found) for name, found in platform.pids.items() if name not in left_out
    }
    return Endpoint(platform.base_urls, pids, api_key=platform.api_key, names_users=True)


async def _kill(home: Path) -> None:
    waited = 0.0
    for at in _KILLED_AFTER_S:
        await asyncio.sleep(at - waited)
        waited = at
        # Asked anew each time: what was killed before runs again under another process id.
        kill_one(await asyncio.to_thread(find_platform, home), "orchestrator")
