"""A turn's first super-step without LangGraph's loop; a plain turn has no other. See docs/adr/0002."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.channels import BinaryOperatorAggregate, EphemeralValue, LastValue, Topic
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.types import TASKS
from langgraph.constants import START
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from flotilla_orchestrator.graphs.answer import AnswerNodes
from flotilla_orchestrator.graphs.catalogue import CompiledGraph
from flotilla_orchestrator.graphs.context import RunContext
from flotilla_orchestrator.graphs.messages import add_messages
from flotilla_orchestrator.model import MessageDict
from flotilla_orchestrator.runs.checkpoints.run_saver import RunSaver
from flotilla_orchestrator.runs.checkpoints.super_step import (
    CHECKPOINT_VERSION,
    Task,
    follow,
    no_checkpoint,
    stamped,
    trigger_of,
)
from flotilla_orchestrator.runs.execution.work import RunWork

_INPUT = Task("__input__")
_SPREAD = Task(START, START)
_STATE = {"messages", "steps"}
_BEFORE_FIRST_STEP = -2


@dataclass(frozen=True, slots=True)
class AnswerShape:
    """A graph that begins with the node that answers: one state, one way in, and nothing that could stop it."""

    nodes: AnswerNodes
    channels: tuple[str, ...]
    """In the graph's order."""

    @property
    def task(self) -> Task:
        """The node's task."""
        return Task(self.nodes.name, trigger_of(self.nodes.name))


def answer_shape(graph: CompiledGraph) -> AnswerShape | None:
    """Returns a graph's shape, or None for a graph that is not known through and through."""
    if not isinstance(graph, CompiledStateGraph) or _has_extras(graph):
        return None
    entry = next((end for start, end in graph.builder.edges if start == START), "")
    bound = graph.nodes[entry].bound if entry in graph.nodes else None
    nodes = getattr(getattr(bound, "afunc", None), "__self__", None)
    if not isinstance(nodes, AnswerNodes) or getattr(bound, "afunc", None) != nodes.answer:
        return None
    if {name: type(channel) for name, channel in graph.channels.items()} != _channels_of(nodes):
        return None
    triggers = {START: [START], trigger_of(nodes.name): [nodes.name], trigger_of(nodes.tools_name): [nodes.tools_name]}
    if dict(graph.trigger_to_nodes) != triggers or graph.builder.edges != {(START, nodes.name)}:
        return None
    reduced = graph.channels["messages"]
    if not isinstance(reduced, BinaryOperatorAggregate) or reduced.operator is not add_messages:
        return None
    return AnswerShape(nodes, tuple(graph.channels))


def _has_extras(graph: CompiledStateGraph[Any, Any, Any, Any]) -> bool:
    return bool(
        graph.interrupt_before_nodes
        or graph.interrupt_after_nodes
        or graph.retry_policy
        or graph.cache
        or graph.store
        or graph.builder.branches
        or graph.builder.waiting_edges
        or any(node.retry_policy or node.cache_policy or node.subgraphs for node in graph.nodes.values())
    )


def _channels_of(nodes: AnswerNodes) -> Mapping[str, type[Any]]:
    return {
        "messages": BinaryOperatorAggregate,
        "steps": LastValue,
        START: EphemeralValue,
        TASKS: Topic,
        trigger_of(nodes.name): EphemeralValue,
        trigger_of(nodes.tools_name): EphemeralValue,
    }


async def open_first_step(
    shape: AnswerShape, work: RunWork, saver: RunSaver, config: RunnableConfig
) -> FirstStep | None:
    """Returns the step that a run begins with, or None where its input or its thread is out of the ordinary."""
    if work.resume is not None or work.state:
        return None
    found = await saver.aget_tuple(config)
    if found is None:
        return FirstStep(shape, work.messages, saver, config, no_checkpoint(), _BEFORE_FIRST_STEP)
    if not _is_at_rest(found):
        return None
    return FirstStep(shape, work.messages, saver, found.config, found.checkpoint, found.metadata["step"])


def _is_at_rest(found: CheckpointTuple) -> bool:
    """Tells whether a turn ended at a checkpoint: nothing is to run, nothing waits, and nobody edited it."""
    return (
        found.checkpoint["v"] == CHECKPOINT_VERSION
        and found.metadata.get("source") == "loop"
        and not found.pending_writes
        and found.checkpoint["channel_values"].keys() <= _STATE
    )


class FirstStep:
    """The first super-step of one run's turn."""

    def __init__(
        self,
        shape: AnswerShape,
        messages: Sequence[MessageDict],
        saver: RunSaver,
        config: RunnableConfig,
        before: Checkpoint,
        step: int,
    ) -> None:
        """Takes the checkpoint before the turn, its config and its step number."""
        self._shape = shape
        self._saver = saver
        self._config = config
        self._step = step
        state = add_messages(before["channel_values"].get("messages"), messages)
        self._given = self._follow(before, _INPUT, {START: {"messages": list(messages)}})
        self._ready = self._follow(self._given, _SPREAD, {"messages": state, trigger_of(shape.nodes.name): None})

    async def answer(self, context: RunContext) -> Mapping[str, Any]:
        """Calls the node and returns what it wrote, by channel."""
        values = self._ready["channel_values"]
        node = self._shape.nodes.name
        metadata = {"langgraph_node": node, "langgraph_step": self._step + 3, "langgraph_checkpoint_ns": node}
        state: Any = {name: values[name] for name in values if name in _STATE}
        written = await self._shape.nodes.answer(state, {"metadata": metadata}, Runtime(context=context))
        if not isinstance(written, Command):
            return written
        update: Any = written.update
        return {**update, trigger_of(str(written.goto)): None}

    async def save(self, written: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """Stores the step's checkpoint and returns the state, and whether the turn has ended."""
        messages = add_messages(self._ready["channel_values"]["messages"], written["messages"])
        after = self._follow(self._ready, self._shape.task, {**written, "messages": messages})
        await self._put(self._config, after, "loop", self._step + 3, nodes=[self._shape.nodes.name])
        values = after["channel_values"]
        return {name: values[name] for name in values if name in _STATE}, values.keys() <= _STATE

    async def leave(self) -> None:
        """Leaves the input behind, as the checkpoint at which the node runs."""
        config = await self._put(self._config, self._given, "input", self._step + 1)
        await self._put(config, self._ready, "loop", self._step + 2)

    def _follow(self, before: Checkpoint, task: Task, written: Mapping[str, Any]) -> Checkpoint:
        return follow(before, task, written, self._shape.channels)

    async def _put(
        self, config: RunnableConfig, checkpoint: Checkpoint, source: Any, step: int, *, nodes: Sequence[str] = ()
    ) -> RunnableConfig:
        metadata: CheckpointMetadata = {"source": source, "step": step, "parents": {}}
        return await self._saver.put_step(config, stamped(checkpoint, step), metadata, nodes=nodes)
