"""Agents' folders for tests, and graphs run for real on LangGraph's own saver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flotilla_orchestrator.graphs.catalogue import CompiledGraph
from flotilla_orchestrator.graphs.file_catalogue import FileCatalogue
from flotilla_orchestrator.model import MessageDict
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver

from fakes.scripted_run import ScriptedRun


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes files into a folder and returns it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def graph_of(folder: Path, agent: str) -> CompiledGraph:
    """Returns an agent's compiled graph."""
    catalogue = FileCatalogue.load(folder)
    return catalogue.graph(catalogue.resolve(agent))


def human(text: str, id_: str = "q1") -> MessageDict:
    """Returns a person's message."""
    return MessageDict(id=id_, type="human", content=text)


class Thread:
    """A thread of one graph."""

    def __init__(self, graph: CompiledGraph) -> None:
        self.saver = InMemorySaver()
        self._graph = graph.copy({"checkpointer": self.saver})
        self._config: Any = {"configurable": {"thread_id": "t-1"}}

    async def run(self, run: ScriptedRun, *messages: MessageDict) -> dict[str, Any]:
        """Runs the graph on messages and returns the state's values."""
        values: dict[str, Any] = await self._graph.ainvoke({"messages": list(messages)}, self._config, context=run)
        return values

    def steps(self) -> list[tuple[int, str]]:
        """Returns step number and source of every checkpoint, oldest first."""
        found: list[CheckpointTuple] = list(self.saver.list(self._config))
        return [(entry.metadata["step"], entry.metadata["source"]) for entry in reversed(found)]


def texts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns type and content of the state's messages."""
    return [(message["type"], message["content"]) for message in values["messages"]]
