"""Writes what a graph from somebody else's code streams into the event log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage

from flotilla_orchestrator.model import MessageDict
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import RunJournal, Speaker


class ForeignStream:
    """Turns LangGraph's streams into events of one run."""

    def __init__(self, journal: RunJournal) -> None:
        self._journal = journal
        self._streamed: set[str] = set()

    def message(self, namespace: Sequence[str], chunk: BaseMessage, metadata: Mapping[str, Any]) -> None:
        """Adds a token of a chat model inside the graph."""
        text = str(chunk.text)
        if not isinstance(chunk, AIMessageChunk) or not text:
            return
        # Only the root graph's speakers talk to the caller, as far as anybody can know.
        node = str(metadata.get("langgraph_node", ""))
        self._streamed.add(chunk.id or "")
        self._journal.token(Speaker(chunk.id or "", node, "|".join(namespace), is_answer=not namespace), text)

    def answer(self, message: MessageDict) -> None:
        """Adds the graph's answer as a whole message, and its text where no model streamed it."""
        speaker = Speaker(message.get("id", ""), "", "", is_answer=True)
        if speaker.message_id not in self._streamed and message["content"]:
            self._journal.token(speaker, message["content"])
        self._journal.emit(events.message_finished(message, is_answer=True))

    def custom(self, namespace: Sequence[str], data: Any) -> None:
        """Adds data that a node sent by LangGraph's stream writer."""
        self._journal.emit(events.custom(data_json=events.json_of(data), namespace="|".join(namespace)))
