"""What the tool service speaks of: calls, results, and what the ledger says about a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

ToolArguments = Mapping[str, Any]
"""A call's arguments after they were validated."""


class Outcome(IntEnum):
    """How a call ended; the numbers are stored."""

    SUCCEEDED = 1
    FAILED = 2
    REFUSED = 3
    UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model and the service must know about a tool."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema, draft 2020-12."""
    timeout_s: float
    idempotent: bool
    """The same key twice has one effect; safe to invoke again after a crash."""
    read_only: bool
    """Has no effect outside its result."""

    @property
    def may_repeat(self) -> bool:
        """True when a second invocation of the same call cannot do harm."""
        return self.idempotent or self.read_only


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom tools are invoked."""

    tenant_id: UUID
    user_id: UUID
    run_id: UUID


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call as it was asked for."""

    tool_call_id: str
    tool: str
    arguments_json: bytes
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one call."""

    outcome: Outcome
    content: str
    """What the model reads."""
    reason: str = ""
    """Machine-readable, when the outcome is not SUCCEEDED."""
    duration_s: float = 0.0
    replayed: bool = False
    """True when the result came from the ledger and nothing was invoked."""


@dataclass(frozen=True, slots=True)
class LedgerKey:
    """What the ledger must know before a call: its key, and what it is used for."""

    idempotency_key: str
    tool: str
    arguments_digest: bytes
    needs_intent: bool
    """True for a tool that must not be invoked twice."""


class LedgerState(Enum):
    """What the ledger says about a call before it is made."""

    FREE = "free"
    """Nothing is known: the call may be made; its intent is stored if it needed one."""
    INTENDED = "intended"
    """Somebody meant to make this call and left no result."""
    FINISHED = "finished"
    """The result is known."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The ledger's answer for one key."""

    state: LedgerState
    result: Result | None = None
    """Set when FINISHED."""


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call with its result, as the ledger keeps it."""

    key: LedgerKey
    result: Result


@dataclass(frozen=True, slots=True)
class Batch:
    """All calls of one step."""

    run_id: UUID
    calls: Sequence[ToolCall]
    allowed_tools: frozenset[str]
