"""Drives a release's graph through LangGraph, from the run's input or from where an earlier attempt stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph.types import Command, Interrupt, StreamMode

from flotilla_orchestrator.graphs.catalogue import CompiledGraph
from flotilla_orchestrator.graphs.context import RunContext
from flotilla_orchestrator.graphs.foreign import to_langchain
from flotilla_orchestrator.runs.execution.first_step import FirstStep
from flotilla_orchestrator.runs.execution.foreign import ForeignStream
from flotilla_orchestrator.runs.execution.thread_states import RunState
from flotilla_orchestrator.runs.execution.work import RunWork

FOREIGN, NATIVE = "graph", "native"
"""The patterns of graphs from somebody else's code: with LangChain's messages, and with ours."""
_OWN_MODES: list[StreamMode] = ["values"]
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
        if not goes_on and (step := await self.state.open_first_step(work)):
            return await self._begin(step, context)
        return await self._drive(None if goes_on else self._input(work), context)

    async def _begin(self, step: FirstStep, context: RunContext) -> GraphEnd:
        """Takes the first step here; whatever it does not end with an answer is LangGraph's to go on with."""
        try:
            written = await step.answer(context)
        except (Exception, asyncio.CancelledError) as error:
            await step.leave()
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            # LangGraph stores the failure as its own, from a node that fails again at once.
            context = cast(RunContext, _Failed(error))
        else:
            values, has_ended = await step.save(written)
            if has_ended:
                return GraphEnd(values)
        return await self._drive(None, context)

    async def _drive(self, given: dict[str, Any] | Command[Any] | None, context: RunContext) -> GraphEnd:
        values: Mapping[str, Any] = {}
        has_namespaces = self.pattern in _MODES
        stream = self.graph.copy({"checkpointer": self.state.saver}).astream(
            given,
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


class _Failed:
    """A run in which a node has failed: whatever the node asks of it the second time fails the same way."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


def _is_cancelled() -> bool:
    """Whether somebody asked this task to stop, which a node that raises CancelledError by itself is not."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
