"""What the ledger of invocations does; tests/contract/tool/test_ledger.py is the contract that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from flotilla_tool.model import Caller, FinishedCall, LedgerEntry, LedgerKey


class Ledger(Protocol):
    """Remembers which calls were meant and what became of them, each caller's for itself."""

    async def claim(self, caller: Caller, keys: Sequence[LedgerKey]) -> Mapping[str, LedgerEntry]:
        """Returns what is known of each key, and stores the intent of those that are free and need one.

        Of concurrent claims of one key that needs an intent, exactly one is told FREE. All or nothing is stored.
        Raises InvalidArgumentError (reason idempotency_key_reused) when a key was used for another call.
        """
        ...

    async def record(self, caller: Caller, calls: Sequence[FinishedCall]) -> None:
        """Stores the results; the first result of a key stays."""
        ...
