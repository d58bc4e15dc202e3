"""A process that invokes one transfer and is killed at a given point, for test_at_most_once.

Usage: python dying_bank.py DATABASE_URL EFFECTS_FILE IDEMPOTENT DIES_AT CALLER_JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from flotilla_common.identity import Identity
from flotilla_common.postgres import open_pool
from flotilla_tool.metrics import ToolMetrics
from flotilla_tool.model import (
    Batch,
    Caller,
    FinishedCall,
    LedgerEntry,
    LedgerKey,
    ToolArguments,
    ToolCall,
    ToolSpec,
)
from flotilla_tool.service import ToolService
from flotilla_tool.stores.ledger import Ledger
from flotilla_tool.stores.postgres import PostgresLedger
from flotilla_tool.tools.registry import ToolRegistry
from flotilla_tool.tools.runner import ToolRunner
from flotilla_tool.tools.tool import Invocation
from prometheus_client import CollectorRegistry


@dataclass
class DeathWish:
    """Ends the process as kill -9 does when it comes to one point."""

    point: str

    def pass_by(self, point: str) -> None:
        if point == self.point:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class DyingBank:
    """Writes one line for each effect, on disk before it returns."""

    effects: Path
    idempotent: bool
    death: DeathWish

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec("transfer", "Moves money.", {"type": "object"}, 5, self.idempotent, read_only=False)

    async def invoke(self, arguments: ToolArguments, invocation: Invocation) -> str:
        self.death.pass_by("before effect")
        with self.effects.open("a") as file:
            file.write(f"{invocation.idempotency_key}\n")
            file.flush()
            os.fsync(file.fileno())
        self.death.pass_by("after effect")
        return "sent"


@dataclass
class DyingLedger:
    """The real ledger, around which the process dies."""

    ledger: Ledger
    death: DeathWish

    async def claim(self, caller: Caller, keys: Sequence[LedgerKey]) -> Mapping[str, LedgerEntry]:
        self.death.pass_by("before intent")
        known = await self.ledger.claim(caller, keys)
        self.death.pass_by("after intent")
        return known

    async def record(self, caller: Caller, calls: Sequence[FinishedCall]) -> None:
        self.death.pass_by("before result")
        await self.ledger.record(caller, calls)
        self.death.pass_by("after result")


async def main() -> None:
    url, effects, idempotent, point, caller_json = sys.argv[1:]
    caller, death = json.loads(caller_json), DeathWish(point)
    identity = Identity(UUID(caller["tenant"]), UUID(caller["user"]))
    async with open_pool(url, min_size=1, max_size=1) as pool:
        service = ToolService(
            registry=ToolRegistry([DyingBank(Path(effects), idempotent == "yes", death)]),
            ledger=DyingLedger(PostgresLedger(pool), death),
            runner=ToolRunner(result_cap_bytes=1_024),
            metrics=ToolMetrics(CollectorRegistry()),
        )
        call = ToolCall("c", "transfer", b"{}", "k")
        (result,) = await service.invoke_batch(identity, Batch(UUID(caller["run"]), [call], frozenset({"transfer"})))
    print(result.outcome.name)  # noqa: T201 - what the test reads


if __name__ == "__main__":
    asyncio.run(main())
