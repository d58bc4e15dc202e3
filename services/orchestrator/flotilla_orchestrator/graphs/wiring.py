"""Puts nodes into LangGraph's graphs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from langgraph.graph import StateGraph

from flotilla_orchestrator.graphs.context import RunContext

Graph = StateGraph[Any, Any, Any, Any]
Node = Callable[..., Coroutine[Any, Any, Any]]
"""Takes state, config and runtime; returns an update, or a Command that says who is next."""


def new_graph(state: type[Any]) -> Graph:
    """Returns an empty graph whose nodes find the run in `runtime.context`."""
    context: Any = RunContext
    return StateGraph(state, context_schema=context)


def add_node(graph: Graph, name: str, node: Node, *, leads_to: tuple[str, ...]) -> None:
    """Adds a node; `leads_to` names where its Commands go."""
    # LangGraph gives a node config and runtime together, but its type has no such case. Without an input schema it
    # would show a node only those channels that the class in its signature names.
    action: Any = node
    graph.add_node(name, action, input_schema=graph.state_schema, destinations=leads_to)


def tools_node(name: str) -> str:
    """Returns the name of the node that invokes a speaker's tools."""
    return f"{name}_tools"
