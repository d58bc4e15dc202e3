"""Which nodes run next, read off a checkpoint the way LangGraph's loop decides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.channels import (
    AnyValue,
    BaseChannel,
    EphemeralValue,
    LastValue,
    NamedBarrierValue,
    Topic,
    UntrackedValue,
)
from langgraph.channels.delta import DeltaChannel
from langgraph.channels.last_value import LastValueAfterFinish
from langgraph.channels.named_barrier_value import NamedBarrierValueAfterFinish
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.types import TASKS
from langgraph.constants import START
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel

_NO_WRITES = "__no_writes__"
_EMPTY_WHEN_ABSENT = (
    AnyValue,
    EphemeralValue,
    LastValue,
    LastValueAfterFinish,
    NamedBarrierValue,
    NamedBarrierValueAfterFinish,
    Topic,
)


class Topology:
    """A compiled graph's nodes, triggers and channels."""

    def __init__(self, graph: Pregel[Any, Any, Any, Any]) -> None:
        self._channels: Mapping[str, Any] = graph.channels
        self._triggers = {name: tuple(node.triggers) for name, node in graph.nodes.items()}
        self._nodes_of: Mapping[str, Sequence[str]] = graph.trigger_to_nodes
        self.has_delta_channels = any(isinstance(channel, DeltaChannel) for channel in graph.channels.values())
        """Whether checkpoints need the pending writes of those before them to be read."""
        self._has_plain_start = isinstance(graph, CompiledStateGraph) and not graph.builder.branches.get(START)

    def is_only_start(self, nodes: Sequence[str]) -> bool:
        """Tells whether a step of these nodes does no more than copy the input into the state."""
        return self._has_plain_start and list(nodes) == [START]

    def next_nodes(self, checkpoint: Checkpoint) -> list[str]:
        """Returns the node of each task of the next super-step; none at the graph's end.

        Mirrors langgraph.pregel._algo.prepare_next_tasks; in doubt it names a node that does not run, never less.
        """
        sent = [send.node for send in checkpoint["channel_values"].get(TASKS, ())]
        if not checkpoint["channel_versions"]:
            return sent
        return sent + [name for name in self._candidates(checkpoint) if self._is_triggered(name, checkpoint)]

    def is_plain(self, channels: Iterable[str]) -> bool:
        """Tells whether all of these are channels of the state, so that the next checkpoint holds what was written."""
        return all(channel in self._channels or channel == _NO_WRITES for channel in channels)

    def _candidates(self, checkpoint: Checkpoint) -> Iterable[str]:
        updated = checkpoint.get("updated_channels")
        if updated and self._nodes_of:
            return sorted({node for channel in updated for node in self._nodes_of.get(channel, ())})
        return self._triggers

    def _is_triggered(self, name: str, checkpoint: Checkpoint) -> bool:
        versions: Mapping[str, Any] = checkpoint["channel_versions"]
        seen: Mapping[str, Any] | None = checkpoint["versions_seen"].get(name)
        null = type(next(iter(versions.values())))()
        return any(
            (seen is None or versions.get(channel, null) > seen.get(channel, null))
            and self._is_available(channel, checkpoint["channel_values"])
            for channel in self._triggers[name]
        )

    def _is_available(self, name: str, values: Mapping[str, Any]) -> bool:
        channel: BaseChannel[Any, Any, Any] = self._channels[name]
        if name in values and not isinstance(channel, UntrackedValue | DeltaChannel):
            return channel.from_checkpoint(values[name]).is_available()
        return not isinstance(channel, _EMPTY_WHEN_ABSENT)


def topologies(graph: Pregel[Any, Any, Any, Any]) -> Mapping[tuple[str, ...], Topology]:
    """Returns the topology of a graph and of the graphs that are its nodes, by node path; () is the root.

    A graph that a node's own code calls is not among them: which one that will be is known only when it runs.
    """
    found: dict[tuple[str, ...], Topology] = {(): Topology(graph)}
    for name, node in graph.nodes.items():
        if isinstance(node.bound, Pregel):
            found |= {(name, *path): topology for path, topology in topologies(node.bound).items()}
    return found


def node_path(namespace: str) -> tuple[str, ...]:
    """Returns the nodes of a checkpoint namespace such as "agent:6f…|tools:91…", without the tasks' ids."""
    return tuple(part.split(":", 1)[0] for part in namespace.split("|")) if namespace else ()
