from __future__ import annotations

from pathlib import Path

from fakes.agent_files import Thread, graph_of, human, texts, write_files
from fakes.scripted_run import Say, ScriptedRun
from flotilla_orchestrator.model import CallerTool, MessageDict, RunOptions

DESK = """
name: desk
description: A test.
pattern: pipeline
limits: {max_steps: 6}
steps:
  - name: classify
    prompt: classify.md
    labels: {billing: About money., other: Anything else.}
  - name: answer
    prompt: answer.md
    tools: [calculator]
"""
REVIEW = """
  - name: check
    prompt: check.md
    reviews: answer
"""
PROMPTS = {
    "classify.md": "Sort it.",
    "answer.md": "It is about {{classify}}.",
    "check.md": "Check this: {{answer}}",
}
BILLING = Say('{"label": "billing"}')
APPROVE = Say('{"verdict": "approve", "comment": ""}')
REVISE = Say('{"verdict": "revise", "comment": "Too rude."}')
WEATHER = RunOptions(caller_tools=(CallerTool("weather", "", {"type": "object"}),))


def desk(tmp_path: Path, steps: str = DESK, **prompts: str) -> Thread:
    return Thread(graph_of(write_files(tmp_path, {"desk.yaml": steps, **PROMPTS, **prompts}), "desk"))


async def test_steps_run_in_order_and_the_last_one_answers(tmp_path: Path) -> None:
    thread = desk(tmp_path)
    run = ScriptedRun([BILLING, Say("Pay here.")])

    values = await thread.run(run, human("my bill"))

    assert run.nodes() == ["classify", "answer"]
    assert texts(values) == [("human", "my bill"), ("ai", "Pay here.")]
    assert values["work"]["results"] == {"classify": "billing"}
    assert run.system_prompt(1) == "It is about billing."
    assert [turn.is_answer for _, turn in run.turns] == [False, True]
    assert thread.steps()[-1] == (2, "loop")


async def test_labels_are_asked_for_by_schema(tmp_path: Path) -> None:
    run = ScriptedRun([BILLING, Say("ok")])

    await desk(tmp_path).run(run, human("my bill"))

    wanted = run.turns[0][1].response_format
    assert wanted is not None
    assert wanted["json_schema"]["schema"]["properties"]["label"]["enum"] == ["billing", "other"]
    assert "- billing: About money." in run.system_prompt(0)


async def test_approved_draft_is_the_answer_and_sent_once(tmp_path: Path) -> None:
    thread = desk(tmp_path, DESK + REVIEW)
    run = ScriptedRun([BILLING, Say("Pay here."), APPROVE])

    values = await thread.run(run, human("my bill"))

    assert run.sent == ["Pay here."]
    assert [(turn.is_answer, turn.is_draft) for _, turn in run.turns] == [(False, False), (False, True), (False, False)]
    assert "<answer>\nPay here.\n</answer>" in run.system_prompt(2)
    assert texts(values) == [("human", "my bill"), ("ai", "Pay here.")]
    assert values["messages"][-1]["id"] == run.published[0][1]["id"]


async def test_refused_draft_is_written_once_more_and_then_sent(tmp_path: Path) -> None:
    run = ScriptedRun([BILLING, Say("Pay!"), REVISE, Say("Please pay here.")])

    values = await desk(tmp_path, DESK + REVIEW).run(run, human("my bill"))

    assert run.sent == ["Please pay here."]
    assert run.nodes() == ["classify", "answer", "check", "answer"]
    assert "<draft>\nPay!\n</draft>" in run.system_prompt(3)
    assert "<review>\nToo rude.\n</review>" in run.system_prompt(3)
    assert texts(values) == [("human", "my bill"), ("ai", "Please pay here.")]


async def test_verdict_that_cannot_be_read_approves(tmp_path: Path) -> None:
    run = ScriptedRun([BILLING, Say("Pay here."), Say("looks fine")])

    await desk(tmp_path, DESK + REVIEW).run(run, human("my bill"))

    assert run.sent == ["Pay here."]


async def test_draft_may_call_tools_and_keeps_calls_for_review_and_rewrite(tmp_path: Path) -> None:
    run = ScriptedRun([BILLING, Say(calls=["calculator"]), Say(calls=["calculator"]), Say("42"), REVISE, Say("43")])

    values = await desk(tmp_path, DESK + REVIEW).run(run, human("sum?"))

    # Six calls in all: the fourth is the draft's last, because review and rewrite need two.
    assert [run.offered(turn) for turn in (1, 2, 3)] == [["calculator"], ["calculator"], []]
    assert run.sent == ["43"]
    assert [kind for kind, _ in texts(values)] == ["human", "ai", "tool", "ai", "tool", "ai"]


async def test_draft_that_calls_the_callers_tools_goes_out_at_once(tmp_path: Path) -> None:
    thread = desk(tmp_path, DESK + REVIEW)
    run = ScriptedRun([BILLING, Say(calls=["weather", "calculator"])], options=WEATHER)

    values = await thread.run(run, human("rain?"))

    assert run.offered(1) == ["calculator", "weather"]
    assert run.published[0][1]["tool_calls"][0]["name"] == "weather"
    assert [names for _, names in run.invoked] == [["calculator"]]
    assert [kind for kind, _ in texts(values)] == ["human", "ai", "tool"]


async def test_turn_goes_on_at_the_answer_with_the_callers_results(tmp_path: Path) -> None:
    thread = desk(tmp_path, DESK + REVIEW)
    await thread.run(ScriptedRun([BILLING, Say(calls=["weather"])], options=WEATHER), human("rain?"))
    run = ScriptedRun([Say("It rains."), APPROVE], options=WEATHER)

    await thread.run(run, MessageDict(id="r", type="tool", content="rain", tool_call_id="call-2-0"))

    assert run.nodes() == ["answer", "check"]
    assert run.system_prompt(0) == "It is about billing."
    assert run.sent == ["It rains."]


async def test_second_turn_classifies_and_reviews_again(tmp_path: Path) -> None:
    thread = desk(tmp_path, DESK + REVIEW)
    await thread.run(ScriptedRun([BILLING, Say("Pay!"), REVISE, Say("Please.")]), human("my bill"))
    run = ScriptedRun([Say('{"label": "other"}'), Say("Hello."), APPROVE])

    values = await thread.run(run, human("hi", "q2"))

    assert run.nodes() == ["classify", "answer", "check"]
    assert values["work"]["results"]["classify"] == "other"
    assert "Pay!" not in run.system_prompt(1)


async def test_inner_step_gives_text_with_tools_and_an_object(tmp_path: Path) -> None:
    steps = """
name: desk
description: A test.
pattern: pipeline
steps:
  - {name: look_up, prompt: look.md, tools: [clock]}
  - name: extract
    prompt: extract.md
    output_schema: {type: object, properties: {n: {type: integer}}, required: [n]}
  - {name: answer, prompt: final.md}
"""
    prompts = {"look.md": "Look.", "extract.md": "From {{look_up}}", "final.md": "{{extract}}"}
    run = ScriptedRun([Say(calls=["clock"]), Say("It is 42 o'clock"), Say('{"n": 42}'), Say("42.")])

    values = await desk(tmp_path, steps, **prompts).run(run, human("time?"))

    assert texts(values) == [("human", "time?"), ("ai", "42.")]
    assert run.system_prompt(2) == "From <look_up>\nIt is 42 o'clock\n</look_up>"
    assert run.system_prompt(3) == '<extract>\n{"n":42}\n</extract>'
