"""What a thread's checkpoints show: its state and its history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from flotilla_common.errors import NotFoundError
from langgraph.checkpoint.base import CheckpointTuple, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from flotilla_orchestrator.model import PendingInterrupt, ThreadState
from flotilla_orchestrator.runs.checkpoints.encoding import to_tuple
from flotilla_orchestrator.runs.checkpoints.values import state_json, to_json
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery, CheckpointStore, StoredCheckpoint


class CheckpointReader:
    """Reads thread states; whose thread it is was asked before."""

    def __init__(self, stores: Callable[[UUID], CheckpointStore], *, serde: SerializerProtocol | None = None) -> None:
        """Takes what opens a tenant's store."""
        self._stores = stores
        self._serde = serde or JsonPlusSerializer()

    async def get_state(
        self, thread_id: UUID, *, tenant_id: UUID, checkpoint_id: UUID | None = None, namespace: str = ""
    ) -> ThreadState | None:
        """Returns a thread's latest state, None before its first run, or that at a checkpoint.

        Raises NotFoundError if the named checkpoint does not exist.
        """
        query = CheckpointQuery(thread_id, namespace, checkpoint_id, limit=1)
        found = await self._stores(tenant_id).find(query)
        if not found and checkpoint_id is not None:
            raise NotFoundError("the checkpoint does not exist", reason="checkpoint_not_found")
        return self._state_of(found[0]) if found else None

    async def list_history(
        self, thread_id: UUID, *, tenant_id: UUID, before: UUID | None = None, limit: int = 20
    ) -> Sequence[ThreadState]:
        """Returns the states of the root graph, newest first, only those before a checkpoint where it is given."""
        query = CheckpointQuery(thread_id, "", before=before, limit=limit)
        return [self._state_of(stored) for stored in await self._stores(tenant_id).find(query)]

    def _state_of(self, stored: StoredCheckpoint) -> ThreadState:
        row, found = stored.row, to_tuple(self._serde, stored)
        return ThreadState(
            thread_id=row.thread_id,
            checkpoint_id=row.checkpoint_id,
            namespace=row.namespace,
            parent_id=row.parent_id,
            values_json=state_json(found.checkpoint["channel_values"]),
            next_nodes=row.next_nodes,
            metadata_json=row.metadata,
            created_at=datetime.fromisoformat(found.checkpoint["ts"]),
            interrupts=_interrupts(found),
        )


def _interrupts(found: CheckpointTuple) -> list[PendingInterrupt]:
    writes = found.pending_writes or []
    answered = {task_id for task_id, channel, _ in writes if channel not in (INTERRUPT, RESUME, ERROR)}
    return [
        PendingInterrupt(id=str(one.id), value_json=to_json(one.value))
        for one in _raised(write for write in writes if write[0] not in answered)
    ]


def _raised(writes: Iterable[PendingWrite]) -> Iterable[Any]:
    for _, channel, value in writes:
        if channel == INTERRUPT:
            yield from value if isinstance(value, list | tuple) else (value,)
