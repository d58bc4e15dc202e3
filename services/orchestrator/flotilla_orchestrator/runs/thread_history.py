"""A thread's checkpoints as LangGraph's wire shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from flotilla_orchestrator.model import MessageDict, PendingInterrupt, ThreadState
from flotilla_orchestrator.runs.checkpoints.encoding import to_tuple
from flotilla_orchestrator.runs.thread_states import OpenCheckpoints
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery, StoredCheckpoint

_INTERRUPT = "__interrupt__"
_INNER = ("__", "branch:")
"""How the names of LangGraph's own channels begin."""


class ThreadHistory:
    """Reads the states of threads."""

    def __init__(self, open_checkpoints: OpenCheckpoints) -> None:
        self._open_checkpoints = open_checkpoints
        self._serde = JsonPlusSerializer()

    async def states(
        self,
        thread_id: UUID,
        *,
        tenant_id: UUID,
        namespace: str = "",
        checkpoint_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> Sequence[ThreadState]:
        """Returns states, newest first."""
        query = CheckpointQuery(thread_id, namespace, checkpoint_id, before, limit=limit)
        return [self._state(stored) for stored in await self._open_checkpoints(tenant_id).find(query)]

    def _state(self, stored: StoredCheckpoint) -> ThreadState:
        row, found = stored.row, to_tuple(self._serde, stored)
        values = {
            name: value for name, value in found.checkpoint["channel_values"].items() if not name.startswith(_INNER)
        }
        return ThreadState(
            thread_id=row.thread_id,
            checkpoint_id=row.checkpoint_id,
            namespace=row.namespace,
            parent_id=row.parent_id,
            values_json=_dump(_with_langchain_messages(values)),
            next_nodes=row.next_nodes,
            metadata_json=row.metadata,
            created_at=datetime.fromisoformat(found.checkpoint["ts"]),
            interrupts=_interrupts(found),
        )


def _interrupts(found: CheckpointTuple) -> list[PendingInterrupt]:
    return [
        PendingInterrupt(interrupt.id, _dump(interrupt.value))
        for _, channel, value in found.pending_writes or ()
        if channel == _INTERRUPT
        for interrupt in value
    ]


def _with_langchain_messages(values: Mapping[str, Any]) -> dict[str, Any]:
    messages = values.get("messages")
    if not isinstance(messages, list):
        return dict(values)
    return {**values, "messages": [_langchain_json(message) for message in messages]}


def _langchain_json(message: MessageDict | BaseMessage) -> dict[str, Any]:
    """Returns a message as LangChain's `model_dump` writes it, as far as clients read it."""
    if isinstance(message, BaseMessage):
        return message.model_dump()
    calls = [
        {"id": call["id"], "name": call["name"], "args": _arguments(call["args_json"]), "type": "tool_call"}
        for call in message.get("tool_calls", ())
    ]
    shown: dict[str, Any] = {"additional_kwargs": {}, "response_metadata": {}, "name": None, **message}
    if message["type"] == "ai":
        shown |= {"tool_calls": calls, "invalid_tool_calls": []}
    if message["type"] == "tool":
        shown.setdefault("status", "success")
    return shown


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Returns what JSON does not know as something that it does."""
    return value.model_dump() if hasattr(value, "model_dump") else str(value)
