"""What the saver of a run hands over, with real compiled graphs."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict
from uuid import UUID, uuid4

import pytest
from flotilla_common.ids import new_id
from flotilla_orchestrator.model import CheckpointRow, PendingWrites
from flotilla_orchestrator.runs.checkpoints.run_saver import RunSaver
from flotilla_orchestrator.runs.checkpoints.topology import Topology, node_path, topologies
from flotilla_orchestrator.stores.in_memory.checkpoint_store import InMemoryCheckpointStore
from flotilla_orchestrator.stores.in_memory.state import InMemoryState
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt


class State(TypedDict, total=False):
    messages: Annotated[list[str], operator.add]
    question: str


@dataclass
class RecordingSink:
    """Stores what it is given at once and keeps the order; final checkpoints stay out, as a run's end keeps them."""

    store: InMemoryCheckpointStore
    stored: list[CheckpointRow] = field(default_factory=list)
    final: list[CheckpointRow] = field(default_factory=list)
    writes: list[PendingWrites] = field(default_factory=list)

    async def put_checkpoint(self, row: CheckpointRow, *, nodes: Sequence[str], is_final: bool) -> None:
        if is_final:
            self.final.append(row)
        else:
            self.stored.append(row)
            await self.store.put(row)

    async def put_writes(self, writes: PendingWrites) -> None:
        self.writes.append(writes)
        await self.store.put_writes(writes)


class Runner:
    """Runs graphs on one thread, each run with a saver of its own."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.store = InMemoryCheckpointStore(InMemoryState(), uuid4())
        self.thread_id = uuid4()
        self.sink = RecordingSink(self.store)
        self.saver: RunSaver

    async def run(self, given: Any, *, run_id: UUID | None = None) -> Mapping[str, Any]:
        run_id = run_id or new_id()
        self.sink = RecordingSink(self.store)
        self.saver = RunSaver(self.store, self.sink, run_id=run_id, topologies=topologies(self.graph))
        graph = self.graph.copy(update={"checkpointer": self.saver})
        config: RunnableConfig = {
            "configurable": {"thread_id": str(self.thread_id)},
            "metadata": {"run_id": str(run_id)},
        }
        result: Mapping[str, Any] = await graph.ainvoke(given, config, durability="sync")
        return result

    async def end(self) -> None:
        """Stores what a run's end stores."""
        for row in [*self.saver.held, *self.sink.final]:
            await self.store.put(row)


def say(text: str) -> Any:
    async def node(state: State) -> State:
        return {"messages": [text]}

    return node


def one_node() -> Any:
    graph = StateGraph(State)
    graph.add_node("answer", say("reply"))
    graph.add_edge(START, "answer")
    return graph.compile()


def react(tools: Any = None) -> Any:
    async def model(state: State) -> State:
        return {"messages": ["call"] if "result" not in state["messages"] else ["answer"]}

    graph = StateGraph(State)
    graph.add_node("model", model)
    graph.add_node("tools", tools or say("result"))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1] == "call" else END)
    graph.add_edge("tools", "model")
    return graph.compile()


def fan_out(second: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("split", say("split"))
    graph.add_node("left", say("left"))
    graph.add_node("right", second)
    graph.add_node("join", say("join"))
    graph.add_edge(START, "split")
    graph.add_edge("split", "left")
    graph.add_edge("split", "right")
    graph.add_edge(["left", "right"], "join")
    return graph.compile()


def nested() -> Any:
    inner = StateGraph(State)
    inner.add_node("think", say("think"))
    inner.add_node("speak", say("speak"))
    inner.add_edge(START, "think")
    inner.add_edge("think", "speak")
    outer = StateGraph(State)
    outer.add_node("agent", inner.compile())
    outer.add_edge(START, "agent")
    return outer.compile()


async def test_turn_of_one_node_stores_nothing_before_its_end() -> None:
    runner = Runner(one_node())

    result = await runner.run({"messages": ["hello"]})

    assert result["messages"] == ["hello", "reply"]
    assert (runner.sink.stored, runner.sink.writes, runner.saver.held) == ([], [], [])
    [final] = runner.sink.final
    assert (final.parent_id, final.next_nodes) == (None, [])


async def test_second_turn_continues_from_the_first_ones_end() -> None:
    runner = Runner(one_node())
    await runner.run({"messages": ["hello"]})
    await runner.end()
    [first] = runner.sink.final

    result = await runner.run({"messages": ["again"]})

    assert result["messages"] == ["hello", "reply", "again", "reply"]
    [second] = runner.sink.final
    assert second.parent_id == first.checkpoint_id


async def test_react_turn_stores_the_reply_before_its_tools_and_the_result_before_the_next_call() -> None:
    seen: list[list[str]] = []

    async def tools(state: State) -> State:
        seen.append([node for row in runner.sink.stored for node in row.next_nodes])
        return {"messages": ["result"]}

    runner = Runner(react(tools))

    await runner.run({"messages": ["ask"]})

    assert seen == [["tools"]]
    assert [list(row.next_nodes) for row in runner.sink.stored] == [["tools"], ["model"]]
    assert [row.parent_id for row in (*runner.sink.stored, *runner.sink.final)] == [
        None,
        *(row.checkpoint_id for row in runner.sink.stored),
    ]
    assert runner.sink.writes == []


async def test_take_over_continues_from_the_stored_reply() -> None:
    calls = 0

    async def tools(state: State) -> State:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("killed")
        return {"messages": ["result"]}

    runner, run_id = Runner(react(tools)), new_id()
    with pytest.raises(OSError, match="killed"):
        await runner.run({"messages": ["ask"]}, run_id=run_id)

    result = await runner.run({"messages": ["ask"]}, run_id=run_id)

    assert result["messages"] == ["ask", "call", "result", "answer"]


async def test_parallel_task_that_finished_is_not_repeated_after_a_take_over() -> None:
    attempts: list[str] = []

    async def right(state: State) -> State:
        attempts.append("right")
        if len(attempts) == 1:
            raise OSError("killed")
        return {"messages": ["right"]}

    runner, run_id = Runner(fan_out(right)), new_id()
    with pytest.raises(OSError, match="killed"):
        await runner.run({"messages": ["go"]}, run_id=run_id)
    written = [channel for task in runner.sink.writes for _, channel, _ in task.writes]

    result = await runner.run({"messages": ["go"]}, run_id=run_id)

    assert "messages" in written
    assert result["messages"] == ["go", "split", "left", "right", "join"]
    assert [list(row.next_nodes) for row in runner.sink.stored] == [["join"]]
    assert len(runner.sink.final) == 1


async def test_inner_graphs_end_is_not_the_runs_end() -> None:
    runner = Runner(nested())

    result = await runner.run({"messages": ["go"]})

    assert result["messages"] == ["go", "go", "think", "speak"]
    assert [row.namespace for row in runner.sink.final] == [""]
    outer, *inner = runner.sink.stored
    assert (outer.namespace, list(outer.next_nodes)) == ("", ["agent"])
    assert {node_path(row.namespace) for row in inner} == {("agent",)}
    assert [list(row.next_nodes) for row in inner] == [["speak"], []]


async def test_interrupt_in_the_first_step_stores_the_input_and_resumes() -> None:
    async def ask(state: State) -> State:
        return {"messages": [interrupt("really?")]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    runner = Runner(graph.compile())

    await runner.run({"messages": ["go"]})
    [waiting] = runner.sink.stored
    result = await runner.run(Command(resume="yes"))

    assert list(waiting.next_nodes) == ["ask"]
    assert result["messages"] == ["go", "yes"]
    assert [row.parent_id for row in runner.sink.final] == [waiting.checkpoint_id]


async def test_input_of_a_run_that_ends_in_its_first_step_is_held() -> None:
    runner = Runner(one_node())
    held: list[CheckpointRow] = []

    async def look(state: State) -> State:
        held.extend(runner.saver.held)
        return {}

    graph = StateGraph(State)
    graph.add_node("look", look)
    graph.add_edge(START, "look")
    runner.graph = graph.compile()
    await runner.run({"messages": ["hello"]})

    [row] = held
    assert list(row.next_nodes) == ["look"]
    assert runner.saver.held == []


async def test_saver_reads_the_runs_own_checkpoint() -> None:
    runner = Runner(one_node())
    await runner.run({"messages": ["hello"]})

    found = await runner.saver.aget_tuple({"configurable": {"thread_id": str(runner.thread_id), "checkpoint_ns": ""}})

    assert found is not None
    assert UUID(found.checkpoint["id"]) == runner.sink.final[0].checkpoint_id


def sends() -> Any:
    async def work(state: Any) -> State:
        return {"messages": [state]}

    graph = StateGraph(State)
    graph.add_node("plan", say("plan"))
    graph.add_node("work", work)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: [Send("work", "a"), Send("work", "b")], ["work"])
    return graph.compile()


@pytest.mark.parametrize("graph", [one_node(), react(), fan_out(say("right")), nested(), sends()])
async def test_topology_names_the_nodes_that_langgraph_runs_next(graph: Any) -> None:
    checked = graph.copy(update={"checkpointer": InMemorySaver()})
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    await checked.ainvoke({"messages": ["go"]}, config)
    topology = Topology(graph)

    states = [state async for state in checked.aget_state_history(config)]

    assert len(states) >= 3
    for state in states:
        found = await checked.checkpointer.aget_tuple(state.config)
        assert sorted(topology.next_nodes(found.checkpoint)) == sorted(state.next)
