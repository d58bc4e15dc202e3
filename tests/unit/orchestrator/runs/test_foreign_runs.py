"""Runs of graphs that were not written for us: LangChain's models, LangGraph's streams and interrupts."""

from __future__ import annotations

from pathlib import Path

from fakes.agent_files import write_files
from fakes.model_script import ScriptedModel, always
from fakes.run_engine import asked, engine_rig, is_dense, kinds, read_all, read_run, text_of
from fakes.run_stores import stores_in_memory
from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla_common.ids import new_id
from flotilla_orchestrator.model import RunStatus

GRAPHS = """
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


async def answer(state: MessagesState):
    get_stream_writer()({"progress": 1})
    model = GenericFakeChatModel(messages=iter([AIMessage("Hello from afar")]))
    return {"messages": [await model.ainvoke(state["messages"])]}


async def ask(state: MessagesState):
    return {"messages": [AIMessage(f"You said {interrupt({'question': 'Sure?'})}.")]}


async def shout(state: MessagesState):
    get_stream_writer()({"progress": "x" * 5_000_000})
    return {"messages": [AIMessage("Heard?")]}


class Hoard(MessagesState):
    heap: str


async def hoard(state: Hoard):
    return {"messages": [AIMessage("Here it is.")], "heap": "x" * 17 * 1024 * 1024}


def graph_of(node, state=MessagesState):
    graph = StateGraph(state)
    graph.add_node("agent", node)
    graph.add_edge(START, "agent")
    return graph.compile()


answering, asking, shouting, hoarding = graph_of(answer), graph_of(ask), graph_of(shout), graph_of(hoard, Hoard)
"""
FILES = {
    "foreign_runs_graphs.py": GRAPHS,
    "answering.yaml": "name: answering\ndescription: x\ngraph: foreign_runs_graphs:answering\n",
    "hoarding.yaml": "name: hoarding\ndescription: x\ngraph: foreign_runs_graphs:hoarding\n",
    "shouting.yaml": "name: shouting\ndescription: x\ngraph: foreign_runs_graphs:shouting\n",
    "asking.yaml": "name: asking\ndescription: x\ngraph: foreign_runs_graphs:asking\n",
}


async def test_tokens_of_a_langchain_model_are_streamed(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always(""))) as rig:
        log = await rig.answer(asked(rig, "Hi", agent="answering"))

    assert is_dense(log)
    assert text_of(log) == log[-1].done.answer.content == "Hello from afar"
    assert kinds(log)[-2:] == ["message", "done"]
    assert [event.custom.data_json for event in log if event.HasField("custom")] == [b'{"progress":1}']


async def test_state_that_is_too_large_ends_the_run(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always(""))) as rig:
        log = await rig.answer(asked(rig, "Hi", agent="hoarding"))

    assert is_dense(log)
    assert log[-1].failed.error.reason == "state_too_large"
    assert log[-1].failed.error.message == "The run's state is larger than 16 MiB."


async def test_event_that_no_message_could_carry_ends_the_run(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always(""))) as rig:
        log = await rig.answer(asked(rig, "Hi", agent="shouting"))

    assert is_dense(log)
    assert log[-1].failed.error.reason == "event_too_large"


async def test_graph_that_asks_a_person_waits_and_goes_on_with_the_answer(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always(""))) as rig:
        thread_id = new_id()
        first = asked(rig, "Hi", agent="asking", thread_id=thread_id)
        log = await rig.answer(first)
        waiting = await read_run(rig.stores, first)
        again = await read_all(rig.engine.watch(waiting))

        second = asked(rig, agent="asking", thread_id=thread_id)
        request = pb.StartRunRequest.FromString(second.input)
        request.resume.value_json = b'"yes"'
        answered = await rig.answer(asked(rig, agent="asking", thread_id=thread_id, input=request.SerializeToString()))

    assert kinds(log)[-1] == "interrupted"
    assert log[-1].interrupted.value_json == b'{"question":"Sure?"}'
    assert waiting.status is RunStatus.WAITING
    assert again == log
    assert answered[-1].done.answer.content == text_of(answered) == "You said yes."
    assert answered[-1].done.answer.role == common.MESSAGE_ROLE_ASSISTANT
