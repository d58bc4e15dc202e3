"""A thread's checkpoints as LangGraph reads and writes them during one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from langchain_core.runnables import RunnableConfig

from flotilla_orchestrator.graphs.catalogue import CompiledGraph, Release
from flotilla_orchestrator.graphs.foreign import to_message_dict
from flotilla_orchestrator.model import CheckpointRow, MessageDict, OwnedRun
from flotilla_orchestrator.runs.checkpoints.checkpoint_journal import CheckpointJournal
from flotilla_orchestrator.runs.checkpoints.run_saver import RunSaver
from flotilla_orchestrator.runs.checkpoints.saver import FlotillaSaver
from flotilla_orchestrator.runs.checkpoints.topology import Topology, topologies
from flotilla_orchestrator.runs.execution.first_step import AnswerShape, FirstStep, answer_shape, open_first_step
from flotilla_orchestrator.runs.execution.work import RunWork
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery, CheckpointStore

OpenCheckpoints = Callable[[UUID], CheckpointStore]
"""Returns the checkpoints of a tenant."""


@dataclass(frozen=True, slots=True)
class RunState:
    """The thread of one run."""

    run: OwnedRun
    store: CheckpointStore
    saver: RunSaver
    journal: CheckpointJournal
    answer_shape: AnswerShape | None
    """Set when the first step needs no LangGraph."""

    @property
    def config(self) -> RunnableConfig:
        """Names the thread to LangGraph."""
        return {"configurable": {"thread_id": str(self.run.thread_id)}}

    @property
    def unwritten(self) -> Sequence[CheckpointRow]:
        """Checkpoints that the run's end has to write."""
        return [*self.saver.held, *self.journal.final]

    async def open_first_step(self, work: RunWork) -> FirstStep | None:
        """Returns the step that the run begins with, or None where LangGraph has to take it."""
        if self.answer_shape is None:
            return None
        return await open_first_step(self.answer_shape, work, self.saver, self.config)

    async def has_begun(self) -> bool:
        """Whether the thread's latest checkpoint is of this run, so that it goes on from there."""
        latest = await self.store.find(CheckpointQuery(self.run.thread_id, "", limit=1))
        return bool(latest) and latest[0].row.run_id == self.run.run_id


class ThreadStates:
    """Opens the threads of runs; knows each release's topology and shape."""

    def __init__(self, open_checkpoints: OpenCheckpoints) -> None:
        self._open_checkpoints = open_checkpoints
        self._shapes: dict[str, tuple[Mapping[tuple[str, ...], Topology], AnswerShape | None]] = {}

    async def messages(self, thread_id: UUID, *, tenant_id: UUID) -> Sequence[MessageDict]:
        """Returns the messages of a thread's latest checkpoint; none for a thread without one."""
        saver = FlotillaSaver(self._open_checkpoints(tenant_id))
        found = await saver.aget_tuple({"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}})
        values = found.checkpoint["channel_values"] if found else {}
        return [to_message_dict(message) for message in values.get("messages", ())]

    def open(
        self, run: OwnedRun, release: Release, graph: CompiledGraph, *, journal: CheckpointJournal, is_new: bool
    ) -> RunState:
        """Returns the thread of a run; is_new: nothing can be stored for it yet."""
        known = self._shapes.get(release.hash)
        if known is None:
            known = self._shapes[release.hash] = topologies(graph), answer_shape(graph)
        nodes, shape = known
        store = self._open_checkpoints(run.tenant_id)
        saver = RunSaver(store, journal, run_id=run.run_id, topologies=nodes, is_new_thread=is_new)
        return RunState(run, store, saver, journal, shape)
