"""Drives a release's graph through LangGraph, from the run's input or from where an earlier attempt stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.types import Command, Interrupt, StreamMode

from flotilla_orchestrator.graphs.catalogue import CompiledGraph
from flotilla_orchestrator.graphs.context import RunContext
from flotilla_orchestrator.graphs.foreign import to_langchain
from flotilla_orchestrator.runs.foreign import ForeignStream
from flotilla_orchestrator.runs.thread_states import RunState
from flotilla_orchestrator.runs.work import RunWork

FOREIGN, NATIVE = "graph", "native"
"""The patterns of graphs from somebody else's code: with LangChain's messages, and with ours."""
_OWN_MODES: list[StreamMode] = ["values", "updates"]
# Our own patterns stream through the context: LangGraph's other streams cost a task and a wake-up for each piece.
_MODES: dict[str, list[StreamMode]] = {FOREIGN: [*_OWN_MODES, "messages", "custom"], NATIVE: [*_OWN_MODES, "custom"]}


@dataclass(frozen=True, slots=True)
class GraphEnd:
    """How a graph ended."""

    values: Mapping[str, Any]
    interrupts: Sequence[Interrupt] = ()


@dataclass(frozen=True, slots=True)
class GraphDrive:
    """A graph with the thread that it works on."""

    graph: CompiledGraph
    pattern: str
    state: RunState
    foreign: ForeignStream

    async def go(self, work: RunWork, context: RunContext, *, goes_on: bool) -> GraphEnd:
        """Runs the graph to its end or to an interrupt; goes_on: the thread holds this run's input already."""
        values: Mapping[str, Any] = {}
        has_namespaces = self.pattern in _MODES
        stream = self.graph.copy({"checkpointer": self.state.saver}).astream(
            None if goes_on else self._input(work),
            self.state.config,
            context=context,
            stream_mode=_MODES.get(self.pattern, _OWN_MODES),
            subgraphs=has_namespaces,
            durability="sync",
        )
        async for part in stream:
            chunk: Any = part
            namespace, mode, data = chunk if has_namespaces else ((), *chunk)
            match mode:
                case "values" if not namespace:
                    values = data
                case "updates":
                    self.state.journal.note_nodes(name for name in data if not name.startswith("__"))
                case "messages":
                    self.foreign.message(namespace, *data)
                case "custom":
                    self.foreign.custom(namespace, data)
        return GraphEnd(values, values.get("__interrupt__", ()))

    def _input(self, work: RunWork) -> dict[str, Any] | Command[Any]:
        if work.resume is not None:
            answer = work.resume.value
            return Command(resume={work.resume.interrupt_id: answer} if work.resume.interrupt_id else answer)
        if self.pattern == FOREIGN:
            return {**work.state, "messages": [to_langchain(message) for message in work.messages]}
        return {**work.state, "messages": list(work.messages)}
