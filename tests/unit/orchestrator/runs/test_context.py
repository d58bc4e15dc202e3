"""What a repeated step finds in the log of earlier attempts, and how the caller's options apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fakes.model_script import Reply, ScriptedModel, always, in_turn
from fakes.peers import FakeMemory, FakeTools
from fakes.run_engine import decoded, kinds
from flotilla_common.identity import Identity
from flotilla_common.ids import new_id
from flotilla_common.request import acting_as
from flotilla_orchestrator.graphs.context import ModelTurn, Step
from flotilla_orchestrator.model import CallerTool, FinishReason, MessageDict, RunOptions, StoredEvent
from flotilla_orchestrator.runs.event_log.journal import RunJournal
from flotilla_orchestrator.runs.event_log.past import LoggedPast
from flotilla_orchestrator.runs.execution.context import LiveRun, RunFacts
from flotilla_orchestrator.runs.execution.reply import ReplyStreamer
from flotilla_orchestrator.runs.execution.stop import StopSignal
from flotilla_orchestrator.runs.execution.toolbox import Toolbox
from flotilla_orchestrator.runs.metrics import RunMetrics
from prometheus_client import CollectorRegistry

RUN, PERSON = new_id(), Identity(new_id(), new_id())
STEP, TOOLS = Step("agent", "", 1), Step("tools", "", 2)
ALLOWED = ("calculator", "search_memory", "remember")
QUESTION = MessageDict(id="q", type="human", content="?")


class Attempt:
    """One attempt at a run; the next one reads its log."""

    def __init__(
        self,
        model: ScriptedModel,
        *,
        log: Sequence[StoredEvent] = (),
        options: RunOptions | None = None,
        memory: FakeMemory | None = None,
        omits_tokens: bool = False,
    ) -> None:
        self.tools, self.memory, self.log = FakeTools(), memory or FakeMemory(), list(log)
        self.journal = RunJournal(RUN, 1, last_sequence=len(log))
        metrics, past = RunMetrics(CollectorRegistry()), LoggedPast.of(log)
        stop = StopSignal(has_lease=lambda: True)
        self.live = LiveRun(
            RunFacts(RUN, "assistant", 1, options or RunOptions(), None, ()),
            journal=self.journal,
            past=past,
            replies=ReplyStreamer(
                model, self.journal, past=past, stop=stop, metrics=metrics, omits_tokens=omits_tokens
            ),
            toolbox=Toolbox(self.tools, self.memory, run_id=RUN, allowed=ALLOWED, read_only=(), metrics=metrics),
            stop=stop,
        )

    def new_events(self) -> list[StoredEvent]:
        taken = list(self.journal.take().append.events)
        self.log += taken
        return taken


def turn(**fields: Any) -> ModelTurn:
    return ModelTurn(**{"messages": [QUESTION], "routes": ["default"], "is_answer": True, **fields})


async def test_finished_reply_is_read_from_the_log_with_its_cost() -> None:
    model = ScriptedModel(always("Hello there"))
    first = Attempt(model)
    said = await first.live.call_model(STEP, turn())
    first.new_events()

    second = Attempt(model, log=first.log)
    again = await second.live.call_model(STEP, turn())

    assert again == said
    assert len(model.requests) == 1
    assert second.new_events() == []
    assert second.live.usage == first.live.usage


async def test_reply_that_nobody_reads_along_leaves_its_message_and_no_tokens() -> None:
    attempt = Attempt(ScriptedModel(always("Hello there")), omits_tokens=True)

    reply = await attempt.live.call_model(STEP, turn())

    assert reply.message["content"] == "Hello there"
    assert kinds(decoded(attempt.new_events())) == ["message"]
    assert attempt.live.usage


async def test_tool_results_are_read_from_the_log_and_keys_stay_the_same() -> None:
    model = ScriptedModel(always("", calls=[("calculator", "{}"), ("calculator", "[1]")]))
    first = Attempt(model)
    with acting_as(PERSON):
        asked = (await first.live.call_model(STEP, turn())).message
        results = await first.live.invoke_tools(TOOLS, asked)
        first.new_events()

        reply_and_starts = first.log[:3]
        whole, cut = Attempt(model, log=first.log), Attempt(model, log=reply_and_starts)
        again = await whole.live.invoke_tools(TOOLS, asked)
        await cut.live.invoke_tools(TOOLS, asked)

    assert again == results
    assert whole.tools.invoked == []
    assert cut.tools.invoked == first.tools.invoked
    assert [call.tool_call_id for call in first.tools.invoked] == [f"call_{RUN.hex}_1", f"call_{RUN.hex}_2"]
    assert len({call.idempotency_key for call in first.tools.invoked}) == 2


async def test_calls_after_a_take_over_get_new_numbers() -> None:
    model = ScriptedModel(always("", calls=[("calculator", "{}")]))
    first = Attempt(model)
    await first.live.call_model(STEP, turn())
    first.new_events()

    second = Attempt(model, log=first.log)
    later = await second.live.call_model(Step("agent", "", 3), turn())

    assert later.message["tool_calls"][0]["id"] == f"call_{RUN.hex}_2"


async def test_message_ids_do_not_depend_on_langgraphs_task_ids() -> None:
    model = ScriptedModel(always("Hello"))

    one = await Attempt(model).live.call_model(Step("agent", "sub:1111|inner:2222", 1), turn())
    other = await Attempt(model).live.call_model(Step("agent", "sub:3333|inner:4444", 1), turn())

    assert one.message["id"] == other.message["id"]


async def test_options_apply_to_the_answer_and_not_to_inner_steps() -> None:
    model = ScriptedModel(always("Hello"))
    options = RunOptions(temperature=0.1, max_output_tokens=5, seed=3, stop=("x",))
    live = Attempt(model, options=options).live

    await live.call_model(STEP, turn(temperature=0.9, max_output_tokens=100))
    await live.call_model(Step("check", "", 2), turn(temperature=0.9, max_output_tokens=100, is_answer=False))

    answer, inner = model.requests
    assert (answer.temperature, answer.max_output_tokens, answer.seed, answer.stop) == (0.1, 5, 3, ("x",))
    assert (inner.temperature, inner.max_output_tokens, inner.seed, inner.stop) == (0.9, 100, None, ())


async def test_forced_tool_choice_ends_with_the_runs_own_result() -> None:
    model = ScriptedModel(always("", calls=[("calculator", "{}")]))
    tool = {"type": "function", "function": {"name": "calculator"}}
    attempt = Attempt(model, options=RunOptions(tool_choice="required"))
    with acting_as(PERSON):
        asked = (await attempt.live.call_model(STEP, turn(tools=[tool]))).message
        results = await attempt.live.invoke_tools(TOOLS, asked)

        await attempt.live.call_model(Step("agent", "", 3), turn(messages=[QUESTION, asked, *results], tools=[tool]))

    assert [request.tool_choice for request in model.requests] == ["required", None]


async def test_callers_calls_are_left_to_the_caller() -> None:
    model = ScriptedModel(always("", calls=[("weather", "{}"), ("calculator", "{}")]))
    attempt = Attempt(model, options=RunOptions(caller_tools=(CallerTool("weather", "", {}),)))
    with acting_as(PERSON):
        asked = (await attempt.live.call_model(STEP, turn())).message
        results = await attempt.live.invoke_tools(TOOLS, asked)

    assert [call.name for call in attempt.tools.invoked] == ["calculator"]
    assert [result["tool_call_id"] for result in results] == [asked["tool_calls"][1]["id"]]


async def test_memory_tools_go_to_memory_once() -> None:
    calls = [("remember", '{"text": "likes tea"}'), ("search_memory", '{"query": "tea"}'), ("remember", "{}")]
    model, memory = ScriptedModel(always("", calls=calls)), FakeMemory(remembered=["likes tea a lot"])
    first = Attempt(model, memory=memory)
    with acting_as(PERSON):
        asked = (await first.live.call_model(STEP, turn())).message
        results = await first.live.invoke_tools(TOOLS, asked)
        await Attempt(model, memory=memory).live.invoke_tools(TOOLS, asked)

    assert memory.remembered.count("likes tea") == 1
    assert first.tools.invoked == []
    assert "likes tea a lot" in results[1]["content"]
    assert "text" in results[2]["content"]
    assert [event.tool.reason for event in decoded(first.new_events()) if event.tool.reason] == ["invalid_arguments"]


async def test_unanswered_calls_get_a_sentence_so_that_the_thread_goes_on() -> None:
    model = ScriptedModel(always("Hello"))
    dangling = MessageDict(
        id="a", type="ai", content="", tool_calls=[{"id": "c1", "name": "weather", "args_json": "{}"}]
    )

    await Attempt(model).live.call_model(STEP, turn(messages=[QUESTION, dangling, QUESTION]))

    roles = [message["role"] for message in model.requests[0].messages]
    assert roles == ["user", "assistant", "tool", "user"]


async def test_draft_is_published_once() -> None:
    model = ScriptedModel(in_turn(Reply("A draft")))
    first = Attempt(model)
    draft = await first.live.call_model(STEP, turn(is_answer=False, is_draft=True))
    published = await first.live.publish(Step("publish", "", 2), draft)
    log = decoded(first.new_events())

    again = await Attempt(model, log=first.log).live.publish(Step("publish", "", 2), draft)

    assert kinds(log) == ["token", "message", "token", "message"]
    assert [event.token.is_answer for event in log if event.HasField("token")] == [False, True]
    assert again == published
    assert published["id"] != draft.message["id"]
    assert draft.finish_reason is FinishReason.STOP
