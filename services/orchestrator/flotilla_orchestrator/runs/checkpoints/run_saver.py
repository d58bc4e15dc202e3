"""The saver of one run: hands checkpoints to the run's writer and keeps back what need not be stored by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.constants import START

from flotilla_orchestrator.model import CheckpointRow, PendingWrites
from flotilla_orchestrator.runs.checkpoints.encoding import (
    checkpoint_of,
    config_of,
    namespace_of,
    pending_writes,
    to_row,
    to_tuple,
    to_writes,
)
from flotilla_orchestrator.runs.checkpoints.saver import FlotillaSaver
from flotilla_orchestrator.runs.checkpoints.sink import CheckpointSink
from flotilla_orchestrator.runs.checkpoints.topology import Topology
from flotilla_orchestrator.stores.checkpoint_store import CheckpointStore, StoredCheckpoint, StoredWrite

_NULL_TASK = str(UUID(int=0))


@dataclass(slots=True)
class _Position:
    """Where a namespace stands in this process: its latest checkpoint and what was written for the step after it."""

    checkpoint_id: UUID
    next_nodes: Sequence[str] | None
    """Of each task that runs next; None when the graph is not known."""
    row: CheckpointRow | None = None
    """Unset when the checkpoint was read from the store."""
    is_held: bool = False
    """It holds no more than the input, and was not handed over so far."""
    writes: list[PendingWrites] = field(default_factory=list)


class RunSaver(FlotillaSaver):
    """Saves the checkpoints of one run; to be used with durability "sync".

    A checkpoint is handed over before the next step begins. Two need no commit of their own: the input's, since the
    run's row has the input (its successor is re-parented), and the one with which the root graph ends, which belongs to
    the run's end. Writes of a step's only task are left out: the next checkpoint follows at once and holds them.
    """

    def __init__(
        self,
        store: CheckpointStore,
        sink: CheckpointSink,
        *,
        run_id: UUID,
        topologies: Mapping[tuple[str, ...], Topology],
        is_new_thread: bool = False,
        serde: SerializerProtocol | None = None,
    ) -> None:
        """Takes the graph's topologies, computed once a release.

        is_new_thread: nothing can be stored for the thread yet, so that the first read is spared.
        """
        super().__init__(store, topologies=topologies, serde=serde)
        self._sink = sink
        self._run_id = run_id
        self._is_new_thread = is_new_thread
        self._positions: dict[str, _Position] = {}

    @property
    def held(self) -> list[CheckpointRow]:
        """Input checkpoints that no later one replaced: written with the end of a run that ended in its first step."""
        return [position.row for position in self._positions.values() if position.is_held and position.row]

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Returns the run's own checkpoint where it is the one that is asked for, else the stored one."""
        namespace, wanted = namespace_of(config), checkpoint_of(config)
        position = self._positions.get(namespace)
        if position and position.row and wanted in (None, position.checkpoint_id):
            return to_tuple(self.serde, StoredCheckpoint(position.row, _in_order(position.writes)))
        if self._is_new_thread and wanted is None:
            return None
        found = await super().aget_tuple(config)
        if found is None:
            return None
        if wanted is None and position is None:
            self._positions[namespace] = self._position_at(namespace, found.checkpoint)
        elif position and str(position.checkpoint_id) == found.checkpoint["id"]:
            _merge(found, pending_writes(self.serde, _in_order(position.writes)))
        return found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Holds the input's checkpoint and hands over every other."""
        before = self._positions.get(namespace_of(config))
        return await self.put_step(config, checkpoint, metadata, nodes=(before and before.next_nodes) or ())

    async def put_step(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, *, nodes: Sequence[str]
    ) -> RunnableConfig:
        """Does what `aput` does, for a step in which these nodes ran."""
        namespace = namespace_of(config)
        topology = self._topology(namespace)
        next_nodes = topology.next_nodes(checkpoint) if topology else []
        full = get_serializable_checkpoint_metadata(config, metadata)
        full["run_id"] = str(self._run_id)
        row = to_row(self.serde, config, checkpoint, full, run_id=self._run_id, next_nodes=next_nodes)
        replaced = self._replaced_by(row)
        if replaced:
            row = replace(row, parent_id=replaced.parent_id)
        self._forget_inner(namespace)
        position = _Position(row.checkpoint_id, next_nodes if topology else None, row)
        position.is_held = metadata["source"] == "input" or bool(next_nodes)
        position.is_held &= self._is_input(topology, metadata, replaced)
        self._positions[namespace] = position
        if not position.is_held:
            is_final = not namespace and not next_nodes and metadata["source"] == "loop"
            await self._hand_over(row, nodes=[node for node in nodes if node != START], is_final=is_final)
        return config_of(row, row.checkpoint_id)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Hands over a task's writes unless the next checkpoint follows at once."""
        position = self._positions.get(namespace_of(config))
        if position is None or position.checkpoint_id != checkpoint_of(config):
            position = None
        elif self._is_single_step(namespace_of(config), position, task_id, writes):
            return
        pending = to_writes(self.serde, config, writes, task_id=task_id, task_path=task_path, run_id=self._run_id)
        if position:
            position.writes.append(pending)
        await self._commit(self._take_held())
        await self._sink.put_writes(pending)

    def _replaced_by(self, row: CheckpointRow) -> CheckpointRow | None:
        """Returns the held checkpoint that a new one makes superfluous."""
        before = self._positions.get(row.namespace)
        return before.row if before and before.is_held and before.checkpoint_id == row.parent_id else None

    def _is_input(
        self, topology: Topology | None, metadata: CheckpointMetadata, replaced: CheckpointRow | None
    ) -> bool:
        """Tells whether a checkpoint holds no more than the input on top of what is stored."""
        # A delta channel is read from the checkpoints and writes before it, so there none may be left out.
        if topology is None or topology.has_delta_channels:
            return False
        return metadata["source"] == "input" or (replaced is not None and topology.is_only_start(replaced.next_nodes))

    def _is_single_step(
        self, namespace: str, position: _Position, task_id: str, writes: Sequence[tuple[str, Any]]
    ) -> bool:
        topology = self._topology(namespace)
        return (
            topology is not None
            and not topology.has_delta_channels
            and position.next_nodes is not None
            and len(position.next_nodes) == 1
            and task_id != _NULL_TASK
            and topology.is_plain(channel for channel, _ in writes)
        )

    async def _hand_over(self, row: CheckpointRow, *, nodes: Sequence[str], is_final: bool) -> None:
        self._is_new_thread = False
        if is_final:
            await self._sink.put_checkpoint(row, nodes=nodes, is_final=True)
            return
        # What is held is an outer graph's input: without it a take-over would give the inner graph a new namespace.
        await self._commit(self._take_held(), self._sink.put_checkpoint(row, nodes=nodes, is_final=False))

    async def _commit(self, held: Sequence[CheckpointRow], *others: Coroutine[Any, Any, None]) -> None:
        await asyncio.gather(*(self._sink.put_checkpoint(row, nodes=(), is_final=False) for row in held), *others)

    def _take_held(self) -> list[CheckpointRow]:
        rows = self.held
        for position in self._positions.values():
            position.is_held = False
        return rows

    def _forget_inner(self, namespace: str) -> None:
        """Drops what is known of graphs inside a graph whose step has ended."""
        prefix = f"{namespace}|" if namespace else ""
        for inner in [name for name in self._positions if name != namespace and name.startswith(prefix)]:
            del self._positions[inner]

    def _position_at(self, namespace: str, checkpoint: Checkpoint) -> _Position:
        topology = self._topology(namespace)
        return _Position(UUID(checkpoint["id"]), topology.next_nodes(checkpoint) if topology else None)


def _in_order(pending: Sequence[PendingWrites]) -> list[StoredWrite]:
    rows = {(task.task_path, task.task_id, write[0]): write for task in pending for write in task.writes}
    return [StoredWrite(key[1], channel, value) for key, (_, channel, value) in sorted(rows.items())]


def _merge(found: CheckpointTuple, own: Sequence[tuple[str, str, Any]]) -> None:
    """Adds writes that are on their way to the store and may not be there yet."""
    stored = found.pending_writes if found.pending_writes is not None else []
    known = {(task_id, channel) for task_id, channel, _ in stored}
    stored.extend(write for write in own if write[:2] not in known)
