"""LangGraph's saver interface on a checkpoint store: for state edits, copies and deletes outside a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from flotilla_orchestrator.runs.checkpoints.encoding import (
    checkpoint_of,
    config_of,
    namespace_of,
    thread_of,
    to_row,
    to_tuple,
    to_writes,
)
from flotilla_orchestrator.runs.checkpoints.topology import Topology, node_path
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery, CheckpointStore

NO_RUN = UUID(int=0)
"""Stands in the run column of checkpoints that no run made."""


class FlotillaSaver(BaseCheckpointSaver[int]):
    """Stores a checkpoint in one row, its channels included. Async only; it holds no lock."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        topologies: Mapping[tuple[str, ...], Topology] | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        """Takes the graph's topologies, without which nobody knows which nodes run next."""
        super().__init__(serde=serde)
        self._store = store
        self._topologies = topologies or {}

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Returns the checkpoint that the config names, or its thread's latest."""
        query = CheckpointQuery(thread_of(config), namespace_of(config), checkpoint_of(config), limit=1)
        found = await self._store.find(query)
        return to_tuple(self.serde, found[0]) if found else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yields checkpoints, newest first."""
        query = CheckpointQuery(
            thread_id=thread_of(config) if config else None,
            namespace=config["configurable"].get("checkpoint_ns") if config else None,
            checkpoint_id=checkpoint_of(config) if config else None,
            before=checkpoint_of(before) if before else None,
            metadata=filter,
            limit=limit,
        )
        for stored in await self._store.find(query):
            yield to_tuple(self.serde, stored)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint."""
        full = get_serializable_checkpoint_metadata(config, metadata)
        topology = self._topology(namespace_of(config))
        next_nodes = topology.next_nodes(checkpoint) if topology else ()
        row = to_row(self.serde, config, checkpoint, full, run_id=_run_of(full), next_nodes=next_nodes)
        await self._store.put(row)
        return config_of(row, row.checkpoint_id)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Stores a task's writes."""
        pending = to_writes(self.serde, config, writes, task_id=task_id, task_path=task_path, run_id=NO_RUN)
        await self._store.put_writes(pending)

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes a thread's checkpoints."""
        await self._store.delete_threads([UUID(thread_id)])

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints that runs made."""
        await self._store.delete_runs([UUID(run_id) for run_id in run_ids])

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all of a thread's checkpoints."""
        await self._store.copy_thread(UUID(source_thread_id), UUID(target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes all but each namespace's latest checkpoint, or with the strategy "delete" all."""
        threads = [UUID(thread_id) for thread_id in thread_ids]
        if strategy == "delete":
            await self._store.delete_threads(threads)
        elif strategy == "keep_latest":
            await self._store.prune(threads)
        else:
            raise ValueError(f"unknown strategy {strategy!r}")

    def _topology(self, namespace: str) -> Topology | None:
        return self._topologies.get(node_path(namespace))


def _run_of(metadata: CheckpointMetadata) -> UUID:
    try:
        return UUID(str(metadata.get("run_id")))
    except ValueError:
        return NO_RUN
