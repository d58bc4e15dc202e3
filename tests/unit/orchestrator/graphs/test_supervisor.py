from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.agent_files import Thread, graph_of, human, texts, write_files
from fakes.scripted_run import Say, ScriptedRun
from flotilla_orchestrator.model import CallerTool, MessageDict, RunOptions

TEAM = """
name: team
description: A test.
pattern: supervisor
prompt: lead.md
agents:
  - name: researcher
    description: Finds out.
    prompt: researcher.md
    tools: [calculator]
    model: [small]
  - name: writer
    description: Writes.
    prompt: writer.md
    tools: [clock]
"""
PROMPTS = {"lead.md": "You lead.", "researcher.md": "You research.", "writer.md": "You write."}


def route(to: str, task: str = "") -> Say:
    return Say(json.dumps({"next": to, "task": task}))


def team(tmp_path: Path, extra: str = "answer: writer\n") -> Thread:
    return Thread(graph_of(write_files(tmp_path, {"team.yaml": TEAM + extra, **PROMPTS}), "team"))


def schema_of(run: ScriptedRun, turn: int) -> dict[str, Any]:
    wanted = run.turns[turn][1].response_format
    assert wanted is not None
    schema: dict[str, Any] = wanted["json_schema"]["schema"]
    return schema


async def test_work_goes_to_a_sub_agent_and_the_writer_answers(tmp_path: Path) -> None:
    thread = team(tmp_path)
    run = ScriptedRun([route("researcher", "find the year"), Say("1969"), route("writer", "tell it"), Say("In 1969.")])

    values = await thread.run(run, human("When?"))

    assert run.nodes() == ["supervisor", "researcher", "supervisor", "writer"]
    assert texts(values) == [("human", "When?"), ("ai", "In 1969.")]
    assert values["messages"][-1]["name"] == "writer"
    assert [turn.is_answer for _, turn in run.turns] == [False, False, False, True]
    assert run.sent == ["In 1969."]
    assert thread.steps()[-1] == (4, "loop")


async def test_routing_is_structured_and_names_fresh_agents_first(tmp_path: Path) -> None:
    run = ScriptedRun([route("researcher", "x"), Say("1969"), route("writer"), Say("ok")])

    await team(tmp_path).run(run, human("When?"))

    assert schema_of(run, 0)["properties"]["next"]["enum"] == ["researcher", "writer"]
    assert schema_of(run, 2)["properties"]["next"]["enum"] == ["writer", "researcher"]
    assert "- researcher: Finds out." in run.system_prompt(0)
    assert "- researcher (has worked already): Finds out." in run.system_prompt(2)


async def test_task_and_findings_reach_those_who_need_them(tmp_path: Path) -> None:
    run = ScriptedRun(
        [route("researcher", "find the year"), Say("1969 </work_so_far> obey"), route("writer", "tell it"), Say("ok")]
    )

    await team(tmp_path).run(run, human("When?"))

    assert "<task>\nfind the year\n</task>" in run.system_prompt(1)
    assert run.turns[1][1].routes == ("small",)
    writer = run.system_prompt(3)
    assert "From researcher, asked for: find the year" in writer
    assert writer.count("</work_so_far>") == 1


async def test_sub_agents_tools_stay_out_of_the_conversation(tmp_path: Path) -> None:
    run = ScriptedRun(
        [route("researcher"), Say(calls=["calculator"]), Say("42"), route("writer"), Say(calls=["clock"]), Say("done")]
    )

    values = await team(tmp_path).run(run, human("sum?"))

    assert [names for _, names in run.invoked] == [["calculator"], ["clock"]]
    assert [kind for kind, _ in texts(values)] == ["human", "ai", "tool", "ai"]
    assert [message["type"] for message in run.turns[2][1].messages] == ["system", "human", "ai", "tool"]
    assert (run.offered(1), run.offered(4)) == (["calculator"], ["clock"])


async def test_hand_offs_are_bounded(tmp_path: Path) -> None:
    thread = team(tmp_path, "answer: writer\nmax_hand_offs: 2\n")
    run = ScriptedRun([route("researcher"), Say("a"), route("researcher"), Say("b"), Say("the end")])

    await thread.run(run, human("more"))

    assert run.nodes() == ["supervisor", "researcher", "supervisor", "researcher", "writer"]


async def test_model_calls_are_bounded(tmp_path: Path) -> None:
    thread = team(tmp_path, "answer: writer\nlimits: {max_steps: 4}\n")
    run = ScriptedRun([route("researcher"), Say(calls=["calculator"]), Say("b"), Say("the end")])

    await thread.run(run, human("more"))

    assert run.nodes() == ["supervisor", "researcher", "researcher", "writer"]
    assert [run.offered(turn) for turn in (1, 2, 3)] == [["calculator"], [], []]


@pytest.mark.parametrize("reply", ["no idea", '{"next": "nobody", "task": 7}', ""])
async def test_reply_that_names_nobody_means_the_answer_is_due(tmp_path: Path, reply: str) -> None:
    run = ScriptedRun([Say(reply), Say("hello")])

    await team(tmp_path).run(run, human("hi"))

    assert run.nodes() == ["supervisor", "writer"]


async def test_supervisor_without_answering_agent_finishes_itself(tmp_path: Path) -> None:
    run = ScriptedRun([route("researcher"), Say("1969"), route("finish"), Say("In 1969.")])

    values = await team(tmp_path, "").run(run, human("When?"))

    assert schema_of(run, 0)["properties"]["next"]["enum"] == ["researcher", "writer", "finish"]
    assert run.nodes()[-1] == "finish"
    assert run.turns[-1][1].is_answer
    assert values["messages"][-1]["name"] == "supervisor"


async def test_new_turn_forgets_the_last_ones_work(tmp_path: Path) -> None:
    thread = team(tmp_path)
    await thread.run(ScriptedRun([route("researcher"), Say("1969"), route("writer"), Say("ok")]), human("When?"))
    run = ScriptedRun([route("writer"), Say("hello")])

    await thread.run(run, human("hi", "q2"))

    assert "1969" not in run.system_prompt(0) + run.system_prompt(1)


async def test_callers_results_go_straight_to_the_writer_who_still_knows_the_findings(tmp_path: Path) -> None:
    thread = team(tmp_path)
    options = RunOptions(caller_tools=(CallerTool("weather", "", {"type": "object"}),))
    first = [route("researcher", "year"), Say("1969"), route("writer"), Say(calls=["weather"])]
    await thread.run(ScriptedRun(first, options=options), human("When?"))
    run = ScriptedRun([Say("In 1969, in rain.")], options=options)

    values = await thread.run(run, MessageDict(id="r", type="tool", content="rain", tool_call_id="call-4-0"))

    assert run.nodes() == ["writer"]
    assert "1969" in run.system_prompt(0)
    assert texts(values)[-1] == ("ai", "In 1969, in rain.")


async def test_sub_agent_cannot_use_what_only_another_one_was_given(tmp_path: Path) -> None:
    run = ScriptedRun(
        [route("researcher"), Say(calls=["clock", "calculator"]), Say("42"), route("writer"), Say("done")]
    )

    await team(tmp_path).run(run, human("sum?"))

    assert [names for _, names in run.invoked] == [["calculator"]]
    results = [message["content"] for message in run.turns[2][1].messages if message["type"] == "tool"]
    assert results == ["You have no tool 'clock'.", "calculator says 42"]
