"""LangGraph's checkpoints as our rows, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import UUID

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from flotilla_orchestrator.model import CheckpointRow, PendingWrites
from flotilla_orchestrator.stores.checkpoint_store import StoredCheckpoint, StoredWrite
from flotilla_orchestrator.stores.encoding import storable_json


def pack(serde: SerializerProtocol, value: Any) -> bytes:
    """Returns a value as one byte string: the serialiser's name for its format, NUL, the data."""
    kind, data = serde.dumps_typed(value)
    return kind.encode() + b"\x00" + data


def unpack(serde: SerializerProtocol, stored: bytes) -> Any:
    """Returns the value that `pack` made bytes of."""
    kind, _, data = stored.partition(b"\x00")
    return serde.loads_typed((kind.decode(), data))


def thread_of(config: RunnableConfig) -> UUID:
    """Returns the thread that a config names."""
    return UUID(str(config["configurable"]["thread_id"]))


def namespace_of(config: RunnableConfig) -> str:
    """Returns the checkpoint namespace that a config names; empty in the root graph."""
    return str(config["configurable"].get("checkpoint_ns") or "")


def checkpoint_of(config: RunnableConfig) -> UUID | None:
    """Returns the checkpoint that a config names."""
    named = get_checkpoint_id(config)
    return UUID(str(named)) if named else None


def to_row(
    serde: SerializerProtocol,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    *,
    run_id: UUID,
    next_nodes: Sequence[str],
) -> CheckpointRow:
    """Returns a checkpoint as a row; the config names its thread, namespace and parent."""
    return CheckpointRow(
        thread_id=thread_of(config),
        namespace=namespace_of(config),
        checkpoint_id=UUID(checkpoint["id"]),
        parent_id=checkpoint_of(config),
        run_id=run_id,
        state=pack(serde, checkpoint),
        metadata=storable_json(cast(dict[str, Any], metadata)).encode(),
        next_nodes=next_nodes,
    )


def to_writes(
    serde: SerializerProtocol,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    *,
    task_id: str,
    task_path: str,
    run_id: UUID,
) -> PendingWrites:
    """Returns a task's writes; special channels have fixed negative indexes."""
    checkpoint_id = checkpoint_of(config)
    if checkpoint_id is None:
        raise ValueError("pending writes belong to a checkpoint")
    return PendingWrites(
        thread_id=thread_of(config),
        namespace=namespace_of(config),
        checkpoint_id=checkpoint_id,
        run_id=run_id,
        task_id=task_id,
        task_path=task_path,
        writes=[
            (WRITES_IDX_MAP.get(channel, index), channel, pack(serde, value))
            for index, (channel, value) in enumerate(writes)
        ],
    )


def to_tuple(serde: SerializerProtocol, stored: StoredCheckpoint) -> CheckpointTuple:
    """Returns a stored checkpoint as LangGraph reads it."""
    row = stored.row
    return CheckpointTuple(
        config=config_of(row, row.checkpoint_id),
        checkpoint=cast(Checkpoint, unpack(serde, row.state)),
        metadata=cast(CheckpointMetadata, orjson.loads(row.metadata)),
        parent_config=None if row.parent_id is None else config_of(row, row.parent_id),
        pending_writes=pending_writes(serde, stored.writes),
    )


def pending_writes(serde: SerializerProtocol, writes: Iterable[StoredWrite]) -> list[PendingWrite]:
    """Returns stored writes as LangGraph reads them."""
    return [(write.task_id, write.channel, unpack(serde, write.value)) for write in writes]


def config_of(row: CheckpointRow, checkpoint_id: UUID) -> RunnableConfig:
    """Returns the config that names a checkpoint of a row's thread and namespace."""
    return {
        "configurable": {
            "thread_id": str(row.thread_id),
            "checkpoint_ns": row.namespace,
            "checkpoint_id": str(checkpoint_id),
        }
    }
