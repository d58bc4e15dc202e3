from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.agent_files import Thread, graph_of, human, texts, write_files
from fakes.scripted_run import Say, ScriptedRun
from flotilla_orchestrator.graphs.file_catalogue import FileCatalogue
from flotilla_orchestrator.graphs.foreign import to_langchain, to_message_dict
from flotilla_orchestrator.graphs.loader import load_agents, validate_file
from flotilla_orchestrator.model import MessageDict, ToolCallDict
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

AGENT = "name: echo\ndescription: Repeats.\ngraph: {reference}\n"
ECHO = """
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

def repeat(state: MessagesState) -> dict:
    return {"messages": [AIMessage("You said: " + state["messages"][-1].content)]}

builder = StateGraph(MessagesState).add_node("repeat", repeat).add_edge(START, "repeat").add_edge("repeat", END)
compiled = builder.compile()

def factory():
    return builder

def broken_factory():
    raise RuntimeError("no key")

number = 7
"""
NATIVE = """
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from flotilla_orchestrator.graphs.context import ModelTurn
from flotilla_orchestrator.graphs.messages import ConversationState, step_of
from langchain_core.runnables import RunnableConfig

async def shout(state: ConversationState, config: RunnableConfig, runtime: Runtime) -> dict:
    turn = ModelTurn(messages=state["messages"], routes=["default"], is_answer=True)
    reply = await runtime.context.call_model(step_of(config), turn)
    return {"messages": [{**reply.message, "content": reply.message["content"].upper()}]}

graph = StateGraph(ConversationState).add_node("shout", shout).add_edge(START, "shout")
"""


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    """Modules and paths of one test are not seen by the next."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in {"echo_graph", "native_graph", "broken_graph"} & (set(sys.modules) - modules):
        del sys.modules[name]


@pytest.mark.parametrize("attribute", ["compiled", "builder", "factory"])
async def test_any_langgraph_graph_is_an_agent(tmp_path: Path, attribute: str) -> None:
    files = {"echo.yaml": AGENT.format(reference=f"echo_graph:{attribute}"), "echo_graph.py": ECHO}
    graph = graph_of(write_files(tmp_path, files), "echo")

    state = await graph.ainvoke({"messages": [to_langchain(human("hi"))]})

    assert to_message_dict(state["messages"][-1])["content"] == "You said: hi"


@pytest.mark.parametrize(("reference", "pattern"), [("echo_graph:compiled", "graph"), ("native_graph:graph", "native")])
def test_release_says_which_messages_a_graph_holds(tmp_path: Path, reference: str, pattern: str) -> None:
    files = {"e.yaml": AGENT.format(reference=reference), "echo_graph.py": ECHO, "native_graph.py": NATIVE}

    release = FileCatalogue.load(write_files(tmp_path, files)).resolve("echo")

    assert release.pattern == pattern


async def test_graph_may_call_models_through_the_run(tmp_path: Path) -> None:
    files = {"n.yaml": AGENT.format(reference="native_graph:graph"), "native_graph.py": NATIVE}
    thread = Thread(graph_of(write_files(tmp_path, files), "echo"))

    values = await thread.run(ScriptedRun([Say("hello")]), human("hi"))

    assert texts(values)[-1] == ("ai", "HELLO")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("no_such_module:graph", "'no_such_module' cannot be imported: ModuleNotFoundError: No module named"),
        ("echo_graph:compield", "'echo_graph' has no 'compield'; did you mean 'compiled'?"),
        ("echo_graph:number", "'echo_graph:number' is a int and no LangGraph graph"),
        ("echo_graph:broken_factory", "'echo_graph:broken_factory' raised RuntimeError: no key"),
        ("broken_graph:graph", "'broken_graph' cannot be imported: SyntaxError"),
        ("echo_graph", "does not look right"),
    ],
)
def test_graph_that_is_not_there_is_a_problem_at_its_line(tmp_path: Path, reference: str, expected: str) -> None:
    files = {"e.yaml": AGENT.format(reference=reference), "echo_graph.py": ECHO, "broken_graph.py": "def ("}

    found = validate_file(write_files(tmp_path, files) / "e.yaml")

    assert [(problem.line, problem.column) for problem in found] == [(3, 8)]
    assert expected in found[0].message


def test_another_source_is_another_release(tmp_path: Path) -> None:
    files = {"e.yaml": AGENT.format(reference="echo_graph:compiled"), "echo_graph.py": ECHO}
    first = load_agents(write_files(tmp_path, files))[0].hash
    (tmp_path / "echo_graph.py").write_text(ECHO + "# changed\n", encoding="utf-8")

    assert load_agents(tmp_path)[0].hash != first


IDS = st.text(min_size=1, max_size=5)
CALLS = st.lists(st.builds(ToolCallDict, id=IDS, name=IDS, args_json=st.just('{"a":1}')), min_size=1, max_size=3)
MESSAGES = st.one_of(
    st.builds(MessageDict, id=IDS, type=st.sampled_from(["human", "system", "ai"]), content=st.text(max_size=9)),
    st.builds(MessageDict, id=IDS, type=st.just("ai"), content=st.text(max_size=9), tool_calls=CALLS, name=IDS),
    st.builds(MessageDict, id=IDS, type=st.just("tool"), content=st.text(max_size=9), tool_call_id=IDS, name=IDS),
)


@given(MESSAGES)
def test_messages_survive_the_way_through_langchain(message: MessageDict) -> None:
    assert to_message_dict(to_langchain(message)) == message


def test_arguments_that_are_no_object_become_none() -> None:
    calls = [ToolCallDict(id="c", name="t", args_json="{broken")]

    converted = to_langchain(MessageDict(id="m", type="ai", content="", tool_calls=calls))

    assert isinstance(converted, AIMessage)
    assert converted.tool_calls[0]["args"] == {}


def test_content_parts_become_text() -> None:
    message = HumanMessage([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}])

    assert to_message_dict(message)["content"] == "a"
