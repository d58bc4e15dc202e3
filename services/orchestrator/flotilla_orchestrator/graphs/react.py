"""The react pattern: one model that may call tools until it answers."""

from __future__ import annotations

from langgraph.graph import START

from flotilla_orchestrator.graphs.answer import AnswerNodes
from flotilla_orchestrator.graphs.messages import ConversationState
from flotilla_orchestrator.graphs.speaker import Speaker
from flotilla_orchestrator.graphs.wiring import Graph, new_graph


def build_react(speaker: Speaker, *, max_steps: int) -> Graph:
    """Returns the pattern's graph, not compiled yet."""
    graph = new_graph(ConversationState)
    AnswerNodes("agent", "tools", speaker, max_steps).add_to(graph)
    graph.add_edge(START, "agent")
    return graph
