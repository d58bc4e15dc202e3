"""Thread states as people and clients read them."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import orjson
import pytest
from flotilla_common.errors import NotFoundError
from flotilla_orchestrator.model import MessageDict
from flotilla_orchestrator.runs.checkpoints.reader import CheckpointReader
from flotilla_orchestrator.runs.checkpoints.saver import FlotillaSaver
from flotilla_orchestrator.runs.checkpoints.topology import topologies
from flotilla_orchestrator.runs.checkpoints.values import state_json
from flotilla_orchestrator.stores.in_memory.checkpoint_store import InMemoryCheckpointStore
from flotilla_orchestrator.stores.in_memory.state import InMemoryState
from langchain_core.messages import HumanMessage
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
    reader = CheckpointReader(lambda tenant_id: InMemoryCheckpointStore(state, tenant_id))
    checked = graph.copy(update={"checkpointer": saver})
    config = {"configurable": {"thread_id": str(THREAD)}}
    await checked.ainvoke({"messages": [{"type": "human", "content": "go"}]}, config, durability="sync")

    waiting = await reader.get_state(THREAD, tenant_id=TENANT)
    await checked.ainvoke(Command(resume="yes"), config, durability="sync")
    last, *earlier = await reader.list_history(THREAD, tenant_id=TENANT)

    assert waiting is not None
    assert (list(waiting.next_nodes), [orjson.loads(one.value_json) for one in waiting.interrupts]) == (
        ["ask"],
        [{"really": True}],
    )
    assert [message["content"] for message in orjson.loads(last.values_json)["messages"]] == ["go", "yes"]
    assert (list(last.next_nodes), last.interrupts, last.parent_id) == ([], [], waiting.checkpoint_id)
    assert orjson.loads(last.metadata_json)["source"] == "loop"
    assert earlier[0].checkpoint_id == waiting.checkpoint_id
    assert await reader.list_history(THREAD, tenant_id=TENANT, before=earlier[0].checkpoint_id) == earlier[1:]
    assert await reader.get_state(THREAD, tenant_id=TENANT, checkpoint_id=last.checkpoint_id) == last


async def test_thread_without_runs_has_no_state() -> None:
    reader = CheckpointReader(lambda tenant_id: InMemoryCheckpointStore(InMemoryState(), tenant_id))

    assert await reader.get_state(uuid4(), tenant_id=TENANT) is None
    with pytest.raises(NotFoundError):
        await reader.get_state(uuid4(), tenant_id=TENANT, checkpoint_id=uuid4())


def test_messages_have_langchains_shape() -> None:
    calls = [
        {"id": "1", "name": "add", "args_json": '{"a": 1}'},
        {"id": "2", "name": "add", "args_json": "{a"},
    ]
    values = {
        "messages": [
            {"type": "ai", "content": "", "id": "m", "tool_calls": calls},
            {"type": "tool", "content": "3", "tool_call_id": "1"},
        ],
        "nested": {"seen": {"b", "a"}, "by": uuid4()},
        "branch:to:ask": None,
        "__start__": {},
    }

    shown = orjson.loads(state_json(values))

    model, tool = shown["messages"]
    assert set(shown) == {"messages", "nested"}
    assert model["tool_calls"] == [{"id": "1", "name": "add", "args": {"a": 1}, "type": "tool_call"}]
    assert [call["args"] for call in model["invalid_tool_calls"]] == ["{a"]
    assert (tool["tool_call_id"], tool["status"]) == ("1", "success")
    assert shown["nested"]["seen"] == ["a", "b"]


def test_langchains_own_messages_are_shown_too() -> None:
    shown = orjson.loads(state_json({"messages": [HumanMessage("hello", id="m")]}))

    [message] = shown["messages"]
    assert (message["type"], message["content"], message["id"]) == ("human", "hello", "m")
