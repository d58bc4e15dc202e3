"""Which thread a run works on, and whether its tool messages answer what is open there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from uuid import UUID, uuid5

from flotilla_common.errors import InvalidArgumentError, NotFoundError
from flotilla_common.identity import Identity

from flotilla_orchestrator.model import Json, MessageDict
from flotilla_orchestrator.runs.execution.identifiers import run_of_tool_call
from flotilla_orchestrator.runs.execution.work import RunWork
from flotilla_orchestrator.stores.run_reader import RunReader

EPHEMERAL_TTL_S = 24 * 3600.0


class TargetKind(Enum):
    """How a request names its thread."""

    THREAD = "thread_id"
    ANSWERED_CALL = "answered_tool_call_id"
    EPHEMERAL = "ephemeral"


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A run as it is asked for."""

    run_id: UUID
    agent: str
    target: TargetKind
    target_id: str
    """The thread's id or the tool call's; empty for an ephemeral thread."""
    may_create_thread: bool
    work: RunWork
    wire: str
    body_hash: bytes
    time_limit_s: float | None
    metadata: Json
    idempotency_key: str | None
    traceparent: str | None
    stored: bytes
    """The request as the run's row keeps it."""


@dataclass(frozen=True, slots=True)
class Target:
    """The thread that a run works on."""

    thread_id: UUID
    may_create: bool
    ttl_s: float | None = None


class ThreadMessages(Protocol):
    """Reads what a thread holds."""

    async def messages(self, thread_id: UUID, *, tenant_id: UUID) -> Sequence[MessageDict]:
        """Returns a thread's messages; none for a thread that does not exist."""
        ...


class Conversations:
    """Finds the thread of a request."""

    def __init__(self, reader: RunReader, threads: ThreadMessages) -> None:
        self._reader = reader
        self._threads = threads

    async def target_of(self, identity: Identity, request: StartRequest) -> Target:
        """Returns the thread. Raises NotFoundError, and InvalidArgumentError naming a message that answers nothing."""
        match request.target:
            case TargetKind.EPHEMERAL:
                check_answers(request.work.messages, open_calls=())
                return Target(uuid5(request.run_id, "thread"), may_create=True, ttl_s=EPHEMERAL_TTL_S)
            case TargetKind.ANSWERED_CALL:
                return await self._answered(identity, request)
            case TargetKind.THREAD:
                thread_id = read_uuid(request.target_id, field="thread.thread_id")
                await self._check_answers(identity, thread_id, request)
                return Target(thread_id, may_create=request.may_create_thread)

    async def _answered(self, identity: Identity, request: StartRequest) -> Target:
        """Returns the ephemeral thread of the run that made the call; one that has gone on since is as good as gone."""
        run_id = run_of_tool_call(request.target_id)
        if run_id is None:
            raise InvalidArgumentError(
                "This is no tool call of ours.", reason="unknown_tool_call", field="thread.answered_tool_call_id"
            )
        run = await self._reader.get_run(run_id, tenant_id=identity.tenant_id, user_id=identity.user_id)
        try:
            await self._check_answers(identity, run.thread_id, request)
        except InvalidArgumentError as error:
            raise NotFoundError("The tool call is not open any more.", reason="tool_call_not_open") from error
        return Target(run.thread_id, may_create=False, ttl_s=EPHEMERAL_TTL_S)

    async def _check_answers(self, identity: Identity, thread_id: UUID, request: StartRequest) -> None:
        if any(message["type"] == "tool" for message in request.work.messages):
            held = await self._threads.messages(thread_id, tenant_id=identity.tenant_id)
            check_answers(request.work.messages, open_calls=open_calls(held))


def open_calls(messages: Sequence[MessageDict]) -> set[str]:
    """Returns the tool calls of the last assistant message that no tool message answers yet."""
    answered: set[str] = set()
    for message in reversed(messages):
        if message["type"] == "tool":
            answered.add(message["tool_call_id"])
        elif message["type"] == "ai":
            return {call["id"] for call in message.get("tool_calls", ())} - answered
        else:
            return set()
    return set()


def check_answers(messages: Sequence[MessageDict], *, open_calls: Iterable[str]) -> None:
    """Raises InvalidArgumentError naming the tool message that answers no open call."""
    waiting = set(open_calls)
    for index, message in enumerate(messages):
        if message["type"] == "ai":
            waiting = {call["id"] for call in message.get("tool_calls", ())}
        elif message["type"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise InvalidArgumentError(
                    "No open tool call has this id.",
                    reason="tool_call_not_open",
                    field=f"messages[{index}].tool_call_id",
                )
            waiting.discard(message["tool_call_id"])


def read_uuid(text: str, *, field: str) -> UUID:
    """Returns a UUID. Raises InvalidArgumentError naming the field."""
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{field} must be a UUID.", reason="invalid_value", field=field) from error
