"""Thread states as clients read them."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import orjson
from flotilla_orchestrator.model import MessageDict
from flotilla_orchestrator.runs.checkpoints.saver import FlotillaSaver
from flotilla_orchestrator.runs.checkpoints.topology import topologies
from flotilla_orchestrator.runs.thread_history import ThreadHistory
from flotilla_orchestrator.stores.in_memory.checkpoint_store import InMemoryCheckpointStore
from flotilla_orchestrator.stores.in_memory.state import InMemoryState
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

TENANT, THREAD = uuid4(), uuid4()


class State(TypedDict, total=False):
    messages: Annotated[list[MessageDict], operator.add]


def asking() -> Any:
    async def ask(state: State) -> State:
        return {"messages": [{"type": "ai", "content": interrupt({"really": True})}]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    return graph.compile()


async def test_history_shows_values_next_nodes_and_interrupts() -> None:
    state, graph = InMemoryState(), asking()
    saver = FlotillaSaver(InMemoryCheckpointStore(state, TENANT), topologies=topologies(graph))
    history = ThreadHistory(lambda tenant_id: InMemoryCheckpointStore(state, tenant_id))
    checked = graph.copy(update={"checkpointer": saver})
    config: RunnableConfig = {"configurable": {"thread_id": str(THREAD)}}
    await checked.ainvoke({"messages": [{"type": "human", "content": "go"}]}, config, durability="sync")
    [waiting] = await history.states(THREAD, tenant_id=TENANT, limit=1)

    await checked.ainvoke(Command(resume="yes"), config, durability="sync")
    last, *earlier = await history.states(THREAD, tenant_id=TENANT, limit=10)

    assert list(waiting.next_nodes) == ["ask"]
    assert [orjson.loads(one.value_json) for one in waiting.interrupts] == [{"really": True}]
    assert [message["content"] for message in orjson.loads(last.values_json)["messages"]] == ["go", "yes"]
    assert (list(last.next_nodes), last.interrupts, last.parent_id) == ([], [], waiting.checkpoint_id)
    assert earlier[0].checkpoint_id == waiting.checkpoint_id
    assert await history.states(THREAD, tenant_id=TENANT, before=earlier[0].checkpoint_id, limit=10) == earlier[1:]
