"""The reference ledger, in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from flotilla_common.errors import InvalidArgumentError

from flotilla_tool.model import Caller, FinishedCall, LedgerEntry, LedgerKey, LedgerState, Result

FREE = LedgerEntry(LedgerState.FREE)
INTENDED = LedgerEntry(LedgerState.INTENDED)


@dataclass(frozen=True, slots=True)
class _Row:
    use: tuple[str, bytes]
    result: Result | None = None


class InMemoryLedger:
    """Keeps the ledger in the process; for tests."""

    def __init__(self) -> None:
        self._rows: dict[tuple[UUID, UUID, str], _Row] = {}

    async def claim(self, caller: Caller, keys: Sequence[LedgerKey]) -> Mapping[str, LedgerEntry]:
        """Looks all keys up before it stores an intent, so that a refused batch leaves nothing."""
        known = {key.idempotency_key: self._entry(caller, key) for key in keys}
        for key in keys:
            if key.needs_intent and known[key.idempotency_key] is FREE:
                self._rows[_id(caller, key)] = _Row(_use(key))
        return known

    async def record(self, caller: Caller, calls: Sequence[FinishedCall]) -> None:
        """Stores results where there are none."""
        for call in calls:
            row = self._rows.get(_id(caller, call.key), _Row(_use(call.key)))
            if row.result is None:
                self._rows[_id(caller, call.key)] = replace(row, result=call.result)

    def _entry(self, caller: Caller, key: LedgerKey) -> LedgerEntry:
        row = self._rows.get(_id(caller, key))
        if row is None:
            return FREE
        if row.use != _use(key):
            raise InvalidArgumentError("An idempotency key was used for another call.", reason="idempotency_key_reused")
        if row.result is None:
            return INTENDED
        return LedgerEntry(LedgerState.FINISHED, replace(row.result, duration_s=0.0, replayed=True))


def _id(caller: Caller, key: LedgerKey) -> tuple[UUID, UUID, str]:
    return caller.tenant_id, caller.user_id, key.idempotency_key


def _use(key: LedgerKey) -> tuple[str, bytes]:
    return key.tool, key.arguments_digest
