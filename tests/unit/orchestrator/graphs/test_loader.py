from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes.agent_files import write_files
from flotilla_orchestrator.graphs.loader import AgentFilesError, load_agents, validate_file

GOOD = "name: ada\ndescription: A test.\npattern: react\nprompt: ada.md\n"
TEAM = """name: team
description: A test.
pattern: supervisor
prompt: ada.md
agents:
  - name: researcher
    description: Finds out.
    prompt: ada.md
  - name: writer
    description: Writes.
    prompt: ada.md
"""
DESK = """name: desk
description: A test.
pattern: pipeline
steps:
  - name: classify
    prompt: ada.md
    labels: {billing: Money., other: Else.}
  - name: answer
    prompt: ada.md
"""


def problems(tmp_path: Path, text: str, prompt: str = "You are {{agent}}.") -> list[str]:
    write_files(tmp_path, {"x.yaml": text, "ada.md": prompt})
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in validate_file(tmp_path / "x.yaml")]


@pytest.mark.parametrize("text", [GOOD, TEAM, TEAM + "answer: writer\n", DESK])
def test_right_file_has_no_problems(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "x.yaml:1:1: an agent's file is a mapping, beginning with `name:`"),
        ("- a\n", "x.yaml:1:1: an agent's file is a mapping, beginning with `name:`"),
        ("name: ada\n  pattern: react\n", "x.yaml:2:10: not YAML: mapping values are not allowed here"),
        (GOOD + "promt: x\n", "x.yaml:5:1: unknown key 'promt'; did you mean 'prompt'?"),
        (GOOD + "limits:\n  max_step: 3\n", "x.yaml:6:3: unknown key 'max_step'; did you mean 'max_steps'?"),
        (TEAM + "    tool: [x]\n", "x.yaml:12:5: unknown key 'tool'; did you mean 'tools'?"),
        (GOOD + "name: eva\n", "x.yaml:5:1: the key 'name' stands twice"),
        (GOOD.replace("react", "raect"), "x.yaml:3:10: there is no pattern 'raect'; did you mean 'react'?"),
        (GOOD.replace("pattern: react\n", ""), "x.yaml:1:1: `pattern` is missing"),
        (GOOD.replace("prompt: ada.md\n", ""), "x.yaml:1:1: 'prompt' is missing"),
        (GOOD + "graph: a:b\n", "x.yaml:3:1: a file has either `pattern` or `graph`"),
        (GOOD + "temperature: hot\n", "x.yaml:5:14: Input should be a valid number"),
        (GOOD + "temperature: 3\n", "x.yaml:5:14: Input should be less than or equal to 2"),
        (GOOD + "limits: {time_limit: 5}\n", "x.yaml:5:22: Input should be a valid string"),
        (GOOD + "model: []\n", "x.yaml:5:8: List should have at least 1 item after validation, not 0"),
        (GOOD + "tools: [clock, clock]\n", "x.yaml:5:16: 'clock' stands twice"),
        (GOOD + "tools: [remember]\n", "x.yaml:5:9: 'remember' is memory's: write `memory: {tools: true}`"),
        (GOOD + "variables: {date: x}\n", "x.yaml:5:19: 'date' is given by Flotilla; choose another name"),
        (GOOD.replace("ada.md", "adda.md"), "x.yaml:4:9: there is no prompt 'adda.md'; did you mean 'ada.md'?"),
        (GOOD.replace("ada.md", "../ada.md"), "x.yaml:4:9: the prompt '../ada.md' lies outside the agent's folder"),
        (GOOD.replace("ada.md", "/etc/passwd"), "x.yaml:4:9: the prompt '/etc/passwd' lies outside the agent's folder"),
        (TEAM + "answer: writter\n", "x.yaml:12:9: 'writter' is none of the agents; did you mean 'writer'?"),
        (TEAM + "limits: {max_steps: 2}\n", "x.yaml:12:21: routing, work and answer take 3 model calls"),
        (TEAM.replace("name: writer", "name: researcher"), "x.yaml:9:11: the name 'researcher' is taken"),
        (TEAM.replace("name: writer", "name: finish"), "x.yaml:9:11: the name 'finish' is Flotilla's own"),
        (DESK + "    labels: {a: A., b: B.}\n", "x.yaml:10:13: 'answer' answers the person, so it gives text"),
        (
            DESK + "  - {name: check, prompt: ada.md, reviews: classify}\n",
            "x.yaml:10:44: a review is the last step and reviews the one before it",
        ),
        (
            DESK + "  - {name: check, prompt: ada.md, reviews: answer}\n",
            "x.yaml:10:27: a review's prompt shows what it reviews: write '{{answer}}'",
        ),
        (
            DESK.replace("labels: {billing: Money., other: Else.}", "output_schema: {type: objekt}"),
            "x.yaml:7:27: no JSON Schema: 'objekt' is not valid under any of the given schemas",
        ),
    ],
)  # fmt: skip
def test_problem_names_file_line_and_column(tmp_path: Path, text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in problems(tmp_path, text))


def test_all_problems_of_a_file_come_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "name: Ada\ndescription: x\npattern: react\npromt: a\ntools: calculator\n")

    assert [line.split(": ")[0] for line in found] == ["x.yaml:1:1", "x.yaml:1:7", "x.yaml:4:1", "x.yaml:5:8"]


def test_unknown_variable_is_found_in_the_prompt(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + "variables: {tone: calm}\n", "Hello.\nBe {{tome}}.\n")

    assert found == ["ada.md:2:4: '{{tome}}' has no value; did you mean 'tone'?"]


def test_step_may_not_use_the_result_of_a_later_one(tmp_path: Path) -> None:
    found = problems(tmp_path, DESK, "{{answer}}")

    assert found == ["ada.md:1:1: '{{answer}}' has no value"] * 2


def test_load_agents_lists_the_problems_of_all_files(tmp_path: Path) -> None:
    files = {"a.yaml": GOOD + "x: 1\n", "b.yaml": GOOD + "y: 1\n", "ada.md": "hi"}

    with pytest.raises(AgentFilesError) as caught:
        load_agents(write_files(tmp_path, files))

    assert [(problem.file.name, problem.line) for problem in caught.value.problems] == [("a.yaml", 5), ("b.yaml", 5)]


def test_load_agents_refuses_two_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(AgentFilesError, match=r"b\.yaml:1:7: the name 'ada' is taken by a\.yaml"):
        load_agents(write_files(tmp_path, {"a.yaml": GOOD, "b.yaml": GOOD, "ada.md": "hi"}))


def test_load_agents_refuses_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(AgentFilesError, match="holds no agent"):
        load_agents(tmp_path)


def hash_of(folder: Path, text: str, prompt: str) -> str:
    folder.mkdir()
    return load_agents(write_files(folder, {"x.yaml": text, "ada.md": prompt}))[0].hash


def test_release_is_what_the_agent_is_and_not_how_its_file_looks(tmp_path: Path) -> None:
    original = hash_of(tmp_path / "a", GOOD, "hi")
    reordered = "# a comment\nprompt: 'ada.md'\n" + GOOD.replace("prompt: ada.md\n", "")

    assert hash_of(tmp_path / "b", reordered, "hi") == original
    assert hash_of(tmp_path / "c", GOOD, "hi!") != original
    assert hash_of(tmp_path / "d", GOOD + "temperature: 0\n", "hi") != original


def test_release_is_as_old_as_its_newest_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"x.yaml": GOOD, "ada.md": "hi"})
    os.utime(tmp_path / "x.yaml", (1000, 1000))
    os.utime(tmp_path / "ada.md", (2000, 2000))

    assert load_agents(tmp_path)[0].modified_at == 2000
