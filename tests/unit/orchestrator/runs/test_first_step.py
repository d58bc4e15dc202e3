"""The first step without LangGraph's loop beside LangGraph: one conversation told to both leaves the same behind."""

from __future__ import annotations

import asyncio
import functools
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from fakes.agent_files import human, write_files
from fakes.runs import TENANT, USER
from fakes.scripted_run import Say, ScriptedRun
from flotilla.orchestrator.v1 import event_pb2
from flotilla_common.errors import UnavailableError
from flotilla_common.ids import new_id
from flotilla_orchestrator.graphs.catalogue import CompiledGraph
from flotilla_orchestrator.graphs.context import ModelReply, ModelTurn, Step
from flotilla_orchestrator.graphs.file_catalogue import FileCatalogue
from flotilla_orchestrator.model import CallerTool, MessageDict, OwnedRun, RunOptions
from flotilla_orchestrator.runs.checkpoints.checkpoint_journal import CheckpointJournal
from flotilla_orchestrator.runs.checkpoints.encoding import unpack
from flotilla_orchestrator.runs.checkpoints.reader import CheckpointReader
from flotilla_orchestrator.runs.checkpoints.saver import FlotillaSaver
from flotilla_orchestrator.runs.checkpoints.topology import topologies
from flotilla_orchestrator.runs.event_log.journal import RunJournal
from flotilla_orchestrator.runs.event_log.past import LoggedPast
from flotilla_orchestrator.runs.execution.first_step import answer_shape
from flotilla_orchestrator.runs.execution.foreign import ForeignStream
from flotilla_orchestrator.runs.execution.graph_drive import GraphDrive, GraphEnd
from flotilla_orchestrator.runs.execution.thread_states import RunState, ThreadStates
from flotilla_orchestrator.runs.execution.work import RunWork
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery, StoredCheckpoint
from flotilla_orchestrator.stores.in_memory.checkpoint_store import InMemoryCheckpointStore, put_checkpoint, put_writes
from flotilla_orchestrator.stores.in_memory.state import InMemoryState
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START
from langgraph.types import RetryPolicy

ADA = """
name: ada
description: A test.
pattern: react
prompt: prompt.md
tools: [calculator, clock]
limits: {max_steps: 3}
"""
TEAM = """
name: team
description: A test.
pattern: pipeline
steps: [{name: answer, prompt: prompt.md}]
"""
FILES = {"ada.yaml": ADA, "team.yaml": TEAM, "prompt.md": "You are {{agent}}."}
THREAD = UUID("0190b5d5-0000-7000-8000-00000000000a")
CONFIG: RunnableConfig = {"configurable": {"thread_id": str(THREAD)}}
MINE = CallerTool("weather", "Tells the weather.", {"type": "object"})


@functools.cache
def catalogue() -> FileCatalogue:
    return FileCatalogue.load(write_files(Path(tempfile.mkdtemp()), FILES))


def ada() -> CompiledGraph:
    return catalogue().graph(catalogue().resolve("ada"))


@dataclass(frozen=True)
class Fail:
    """A model that fails; with no error it hangs until the run is cancelled."""

    error: Callable[[], BaseException] | None


HANG = Fail(None)
AWAY = Fail(lambda: UnavailableError("the model is away", reason="model"))
BUG = Fail(lambda: ValueError("a bug"))
STRAY_CANCEL = Fail(asyncio.CancelledError)
Fate = Say | Fail


class FatedRun(ScriptedRun):
    """A run whose model may also fail or hang."""

    def __init__(self, script: Sequence[Fate], run_id: UUID) -> None:
        super().__init__([], run_id=run_id, options=RunOptions(caller_tools=(MINE,)))
        self._fates = list(script)
        self.hangs = asyncio.Event()

    async def call_model(self, step: Step, turn: ModelTurn) -> ModelReply:
        fate = self._fates.pop(0)
        if isinstance(fate, Say):
            self.script.append(fate)
            return await super().call_model(step, turn)
        if fate.error is None:
            self.hangs.set()
            await asyncio.Event().wait()
        raise fate.error() if fate.error else AssertionError


@dataclass
class Turn:
    """What is said to a thread, and what becomes of it."""

    messages: Sequence[MessageDict]
    script: Sequence[Fate]
    is_ours: bool
    """Taken without LangGraph where that is possible."""
    state: Mapping[str, Any] = field(default_factory=dict)
    edits: Sequence[MessageDict] = ()
    """Written into the thread by hand before the turn."""


class Told:
    """One thread in memory and all that its turns showed to the outside."""

    def __init__(self) -> None:
        self._state = InMemoryState()
        self._state.tenants[THREAD] = TENANT
        self.store = InMemoryCheckpointStore(self._state, TENANT)
        self.events: list[event_pb2.StateCommitted] = []
        self.ends: list[Any] = []
        self.asked: list[tuple[Step, ModelTurn]] = []

    async def tell(self, turn: Turn, run_id: UUID, *, graph: Any = None) -> None:
        """Executes one turn and stores what a run's end stores; graph: what LangGraph's part is to be done with."""
        if turn.edits:
            await self.edit(turn.edits)
        journal = RunJournal(run_id, 1, last_sequence=1)
        journal.attach(wake=lambda: self._store(journal), tick=lambda: None)
        state = self._open(run_id, journal)
        run = FatedRun(turn.script, run_id)
        state = state if turn.is_ours else replace(state, answer_shape=None)
        drive = GraphDrive(graph or ada(), "react", state, ForeignStream(journal))
        work = RunWork(turn.messages, dict(turn.state), None, run.options, is_stateless=False, is_new_thread=False)
        self.ends.append(await _outcome(drive, work, run))
        self.asked += run.turns
        self._store(journal)
        for row in state.unwritten:
            await self.store.put(row)

    async def edit(self, messages: Sequence[MessageDict]) -> None:
        """Writes messages as a client's update of the thread does."""
        saver = FlotillaSaver(self.store, topologies=topologies(ada()))
        await ada().copy({"checkpointer": saver}).aupdate_state(CONFIG, {"messages": list(messages)}, as_node="agent")

    async def rows(self) -> list[Any]:
        """Returns everything stored, oldest first."""
        found = await self.store.find(CheckpointQuery(THREAD))
        return [_plain(stored) for stored in reversed(found)]

    async def history(self) -> list[Any]:
        """Returns the thread's history as LangGraph reads it, and as our wires do."""
        graph = ada().copy({"checkpointer": FlotillaSaver(self.store)})
        shots = [shot async for shot in graph.aget_state_history(CONFIG)]
        latest = await graph.aget_state(CONFIG)
        shown = await CheckpointReader(lambda _: self.store).list_history(THREAD, tenant_id=TENANT, limit=100)
        return [
            [
                (s.values, s.next, s.metadata, s.config, s.parent_config, s.tasks, s.interrupts)
                for s in [latest, *shots]
            ],
            [(s.values_json, s.next_nodes, s.metadata_json, s.checkpoint_id, s.parent_id, s.interrupts) for s in shown],
        ]

    def _open(self, run_id: UUID, journal: RunJournal) -> RunState:
        owned = OwnedRun(
            run_id=run_id,
            tenant_id=TENANT,
            user_id=USER,
            remembers=True,
            thread_id=THREAD,
            agent="ada",
            release="",
            epoch=1,
            attempt=1,
            input=b"",
            last_sequence=1,
            remaining_s=60,
            traceparent=None,
        )
        release = catalogue().resolve("ada")
        threads = ThreadStates(lambda _: self.store)
        return threads.open(owned, release, ada(), journal=CheckpointJournal(journal, LoggedPast()), is_new=False)

    def _store(self, journal: RunJournal) -> None:
        flush = journal.take()
        for row in flush.append.checkpoints:
            put_checkpoint(self._state, row)
        for writes in flush.append.writes:
            put_writes(self._state, writes)
        for stored in flush.append.events:
            self.events.append(event_pb2.RunEvent.FromString(stored.payload).state)
        journal.settle(flush)


async def _outcome(drive: GraphDrive, work: RunWork, run: FatedRun) -> Any:
    task = asyncio.create_task(drive.go(work, run, goes_on=False))
    hangs = asyncio.create_task(run.hangs.wait())
    await asyncio.wait([task, hangs], return_when=asyncio.FIRST_COMPLETED)
    if hangs.done():
        task.cancel()
    hangs.cancel()
    (end,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(end, GraphEnd):
        return end
    return type(end), str(end)


def _plain(stored: StoredCheckpoint) -> Any:
    row = stored.row
    state = unpack(FlotillaSaver(None).serde, row.state)  # type: ignore[arg-type]  # only its serialiser is used
    assert state.pop("id") == str(row.checkpoint_id)
    assert state.pop("ts")
    # A run that LangGraph takes over is one that resumes; it notes what had been seen by then, for breakpoints only.
    state["versions_seen"].pop("__interrupt__", None)
    return {
        "ids": (row.checkpoint_id, row.parent_id),
        "run": row.run_id,
        "namespace": row.namespace,
        "metadata": orjson.loads(row.metadata),
        "next": row.next_nodes,
        "state": state,
        "order": list(state["channel_values"]),
        "writes": [(write.task_id, write.channel, write.value) for write in stored.writes],
    }


def numbered(value: Any) -> str:
    """Returns a value's text with every UUID replaced by its place of first appearance."""
    places: dict[str, int] = {}
    return re.sub(
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        lambda id_: f"#{places.setdefault(id_[0], len(places))}",
        repr(value),
    )


async def tell_both(turns: Sequence[Turn]) -> tuple[Told, Told]:
    """Tells a conversation to LangGraph alone and to whom each turn names."""
    stock, mixed = Told(), Told()
    for turn in turns:
        run_id = new_id()
        await stock.tell(replace(turn, is_ours=False), run_id)
        await mixed.tell(turn, run_id)
    return stock, mixed


SCRIPTS = st.one_of(
    st.builds(lambda text: [Say(text)], st.text(max_size=5)),
    st.sampled_from(
        [
            [Say(calls=["clock"]), Say("noon")],
            [Say(calls=["clock", "calculator"]), Say(calls=["clock"]), Say("noon")],
            [Say(calls=["weather"])],
            [Say(calls=["clock", "weather"])],
            [Say(calls=["clock"]), Say(calls=["clock"]), Say(calls=["clock"])],
            [AWAY],
            [BUG],
            [STRAY_CANCEL],
            [HANG],
            [Say(calls=["clock"]), AWAY],
            [Say(calls=["clock"]), HANG],
        ]
    ),
)
MESSAGES = st.lists(st.builds(human, st.text(max_size=5), st.sampled_from(["a", "b", "c"])), max_size=3)
TURNS = st.builds(
    Turn,
    messages=MESSAGES,
    script=SCRIPTS,
    is_ours=st.integers(0, 3).map(bool),
    state=st.sampled_from([{}, {}, {}, {"steps": {"run": "another", "calls": 2}}]),
    edits=st.one_of(st.just([]), st.just([]), MESSAGES),
)


@settings(max_examples=120)
@given(st.lists(TURNS, min_size=1, max_size=5))
def test_both_leave_the_same_behind(turns: list[Turn]) -> None:
    async def compare() -> None:
        stock, mixed = await tell_both(turns)

        assert numbered(await mixed.rows()) == numbered(await stock.rows())
        assert numbered(mixed.ends) == numbered(stock.ends)
        assert numbered(mixed.asked) == numbered(stock.asked)
        assert numbered(mixed.events) == numbered(stock.events)
        assert numbered(await mixed.history()) == numbered(await stock.history())

    asyncio.run(compare())


def say(text: str = "hi", *, is_ours: bool = True, **changes: Any) -> Turn:
    return replace(Turn([human("hello", "q")], [Say(text)], is_ours), **changes)


def told_without_langgraph(*turns: Turn) -> Told:
    """Tells all but the last turn to whom they name, and the last one where a call of LangGraph fails."""

    async def tell() -> Told:
        told = Told()
        for turn in turns[:-1]:
            await told.tell(turn, new_id())
        await told.tell(turns[-1], new_id(), graph=object())
        return told

    return asyncio.run(tell())


@pytest.mark.parametrize("is_ours", [True, False])
def test_plain_turn_needs_no_langgraph_whoever_took_the_one_before(is_ours: bool) -> None:
    told = told_without_langgraph(say("one", is_ours=is_ours), say("two", messages=[human("again", "q2")]))

    assert [message["content"] for message in told.ends[-1].values["messages"]] == ["hello", "one", "again", "two"]


def test_answer_that_calls_the_callers_tools_needs_no_langgraph() -> None:
    told = told_without_langgraph(say(script=[Say(calls=["weather"])]))

    assert told.ends[0].values["messages"][-1]["tool_calls"][0]["name"] == "weather"


OUT_OF_THE_ORDINARY = {
    "the thread was edited": [say(), say(edits=[human("no, this", "q")])],
    "the turn before failed": [say(script=[BUG]), say()],
    "the turn before was cancelled": [say(script=[HANG]), say()],
    "the input holds more than messages": [say(state={"steps": {"run": "another", "calls": 2}})],
}


@pytest.mark.parametrize("turns", OUT_OF_THE_ORDINARY.values(), ids=OUT_OF_THE_ORDINARY)
def test_whatever_is_out_of_the_ordinary_is_left_to_langgraph(turns: Sequence[Turn]) -> None:
    told = told_without_langgraph(*turns)

    error, message = told.ends[-1]
    assert error is AttributeError
    assert "'object' object has no attribute 'copy'" in message


async def test_writes_that_wait_on_a_thread_are_left_to_langgraph() -> None:
    told = Told()
    await told.tell(say(), new_id())
    latest = await told.store.find(CheckpointQuery(THREAD, limit=1))
    config: RunnableConfig = {**CONFIG, "configurable": {**CONFIG["configurable"], "checkpoint_ns": ""}}
    config["configurable"]["checkpoint_id"] = str(latest[0].row.checkpoint_id)
    await FlotillaSaver(told.store).aput_writes(config, [("messages", [human("mine", "m")])], str(UUID(int=0)))

    await told.tell(say(), new_id(), graph=object())

    assert told.ends[-1][0] is AttributeError


def test_plain_turn_writes_one_row() -> None:
    told = told_without_langgraph(say(), say())

    rows = asyncio.run(told.rows())

    assert [row["metadata"]["step"] for row in rows] == [1, 4]
    assert told.events == []


def test_agent_that_may_only_answer_and_call_tools_is_known() -> None:
    shape = answer_shape(ada())

    assert shape is not None
    assert shape.nodes.name == "agent"


CHANGES: Mapping[str, Callable[[Any], Any]] = {
    "a breakpoint": lambda builder: builder.compile(interrupt_before=["agent"]),
    "a branch at the start": lambda builder: builder.add_conditional_edges(START, lambda _: END).compile(),
    "a second way in": lambda builder: builder.add_edge(START, "tools").compile(),
    "another node": lambda builder: builder.add_node("more", lambda state: state).compile(),
    "a node that tries again": lambda builder: builder.compile().copy({"retry_policy": [RetryPolicy()]}),
    "an edge after the answer": lambda builder: builder.add_edge("agent", "tools").compile(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_graph_with_more_to_it_is_not_known(change: Callable[[Any], Any], tmp_path: Path) -> None:
    graph: Any = FileCatalogue.load(write_files(tmp_path, FILES)).graph(catalogue().resolve("ada"))

    assert answer_shape(change(graph.builder)) is None


def test_graph_of_another_pattern_is_not_known() -> None:
    assert answer_shape(catalogue().graph(catalogue().resolve("team"))) is None
