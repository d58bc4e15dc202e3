"""The orchestrator's peers in memory: what they were told is kept, and each can be away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from flotilla_common.errors import FlotillaError, UnavailableError
from flotilla_common.identity import Identity
from flotilla_common.request import current_identity, current_request
from flotilla_orchestrator.clients.delivery import Delivery
from flotilla_orchestrator.clients.memory import Recollection
from flotilla_orchestrator.clients.tool import ToolInvocation, ToolResult, ToolSpec


@dataclass
class Peer:
    """What all have in common."""

    is_away: bool = False
    identities: list[Identity] = field(default_factory=list)

    def _answer(self) -> None:
        self._note([current_identity()])

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        self._note([delivery.identity for delivery in deliveries])

    def _note(self, identities: Sequence[Identity]) -> None:
        self.identities += identities
        if self.is_away:
            raise UnavailableError("away", reason="away")


@dataclass
class FakeMemory(Peer):
    """Implements MemoryClient."""

    remembered: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    turns: list[bytes] = field(default_factory=list)

    async def load_context(self, question: str, *, thread_id: UUID | None, timeout_s: float) -> Recollection:
        self._answer()
        self.questions.append(question)
        return Recollection(memories=tuple(self.remembered))

    async def search(self, query: str) -> tuple[str, ...]:
        self._answer()
        return tuple(text for text in self.remembered if query in text)

    async def remember(self, text: str, *, run_id: UUID) -> None:
        self._answer()
        key = current_request().idempotency_key
        if key not in self.keys:
            self.remembered.append(text)
        self.keys.append(key)

    async def commit_turns(self, deliveries: Sequence[Delivery]) -> list[FlotillaError | None]:
        self._take(deliveries)
        self.turns += [delivery.payload for delivery in deliveries]
        return [None] * len(deliveries)


@dataclass
class FakeTools(Peer):
    """Implements ToolClient; a tool is a function of its arguments."""

    tools: dict[str, Callable[[str], str]] = field(default_factory=lambda: {"calculator": lambda args: f"={args}"})
    invoked: list[ToolInvocation] = field(default_factory=list)
    batches: int = 0
    lists: int = 0

    async def list_tools(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        self._answer()
        self.lists += 1
        return tuple(ToolSpec(name, name, {"type": "object"}) for name in names if name in self.tools)

    async def invoke(
        self, invocations: Sequence[ToolInvocation], *, allowed: Sequence[str], run_id: UUID
    ) -> tuple[ToolResult, ...]:
        self._answer()
        self.batches += 1
        self.invoked.extend(invocations)
        return tuple(self._result(call, allowed) for call in invocations)

    def _result(self, call: ToolInvocation, allowed: Sequence[str]) -> ToolResult:
        if call.name not in allowed:
            return ToolResult(call.tool_call_id, "not allowed", "refused")
        return ToolResult(call.tool_call_id, self.tools[call.name](call.args_json))


@dataclass
class FakeEvaluator(Peer):
    """Implements EvaluatorClient."""

    observed: list[bytes] = field(default_factory=list)

    async def observe_all(self, deliveries: Sequence[Delivery]) -> list[FlotillaError | None]:
        self._take(deliveries)
        self.observed += [delivery.payload for delivery in deliveries]
        return [None] * len(deliveries)
