"""Parts give figures and notice what is wrong; how fast they are is nothing a test can say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from flotilla_common.columns import Integers
from psycopg.types.json import Jsonb

from benchmarks.__main__ import PARTS
from benchmarks.parts import arrays, lines
from benchmarks.parts.call_ends import echo_for
from benchmarks.parts.calls import checked_figures
from benchmarks.parts.line_writer import MESSAGE
from benchmarks.parts.part import Part, Take, WrongContentError, run_part
from benchmarks.processes import conversing
from benchmarks.report import as_json, as_part_table

ROOT = Path(__file__).resolve().parents[3]
WRITER = "benchmarks.parts.line_writer"


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@contextmanager
def fake(_: Path, *, name: str, taken: list[str], figures: Sequence[float]) -> Iterator[Take]:
    """Runs a side that says it took so long, and is wrong once it has nothing more to say."""
    left = iter(figures)

    def take(seconds: float) -> Mapping[str, float]:
        taken.append(name)
        found = next(left, None)
        if found is None:
            raise WrongContentError("nothing is there")
        return {"CPU": found}

    yield take


def interrupt_writer(folder: Path) -> None:
    with conversing(WRITER, "grouped", str(folder / "lines"), log=folder / "log") as ask:
        ask(0, 0.01)
        raise KeyboardInterrupt


def fakes(taken: list[str], *, ours: Sequence[float], other: Sequence[float], rounds: int) -> Part:
    given = {"ours": ours, "other": other}
    sides = {name: partial(fake, name=name, taken=taken, figures=figures) for name, figures in given.items()}
    return Part("a part", sides, seconds=1, rounds=rounds)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_part_compares_every_side_and_leaves_no_process_behind(part: Part, tmp_path: Path) -> None:
    before = children()

    outcome = run_part(replace(part, rounds=1, seconds=0.1), tmp_path)

    assert outcome.errors == []
    assert [set(taken) for taken in outcome.rounds] == [set(part.sides)]
    assert {compared.beside for compared in outcome.comparisons} == set(list(part.sides)[1:])
    assert all(0 < compared.least == compared.median == compared.greatest for compared in outcome.comparisons)
    assert children() <= before


def test_sides_take_turns_and_are_compared_within_a_round(tmp_path: Path) -> None:
    taken: list[str] = []

    outcome = run_part(fakes(taken, ours=[9, 1, 2, 9], other=[9, 2, 8, 9], rounds=3), tmp_path)

    assert taken == ["ours", "other", "ours", "other", "other", "ours", "ours", "other"]
    (compared,) = outcome.comparisons
    assert (compared.median, compared.least, compared.greatest) == (0.5, 0.25, 1.0)
    assert (compared.ours_us, compared.beside_us) == (2, 8)


def test_part_ends_with_the_round_that_was_wrong_and_shows_it(tmp_path: Path) -> None:
    outcome = run_part(fakes([], ours=[1, 1, 1], other=[1, 1], rounds=3), tmp_path)

    assert (len(outcome.rounds), outcome.is_whole) == (1, False)
    assert "! a part: nothing is there" in as_part_table([outcome])
    assert as_json([], None, [outcome])["parts"][0]["errors"] == ["a part: nothing is there"]


async def test_wrong_answers_are_counted() -> None:
    async def garble(request: bytes) -> bytes:
        return request if request[11] % 2 else b""

    seen = await echo_for(garble, at_once=3, seconds=0.01)

    assert 0 < seen.wrong < len(seen.took_s)


@pytest.mark.parametrize("wrong", [{"wrong": 1}, {"astray": 1}, {"calls": 0}])
def test_calls_that_went_wrong_have_no_figures(wrong: Mapping[str, float]) -> None:
    found = {"calls": 9, "wrong": 0, "astray": 0, "p50_us": 2.0, "cpu_us": 1.0}
    assert checked_figures(found, 1)

    with pytest.raises(WrongContentError):
        checked_figures({**found, **wrong}, 1)


def test_array_that_is_read_as_something_else_is_noticed() -> None:
    arrays.check([Integers([1, None]), [1, None]])

    with pytest.raises(WrongContentError, match="was read as"):
        arrays.check([[Jsonb({"a": 1})]])


def test_lines_that_are_lost_broken_or_out_of_order_are_noticed() -> None:
    first, second = (json.dumps({"message": MESSAGE, "number": number}) + "\n" for number in range(2))
    lines.check(first + second, 2)

    for text in (first, first + first, second + first, first + second[:9]):
        with pytest.raises(WrongContentError):
            lines.check(text, 2)


def test_process_ends_with_an_interrupted_benchmark(tmp_path: Path) -> None:
    before = children()

    with pytest.raises(KeyboardInterrupt):
        interrupt_writer(tmp_path)

    assert children() <= before


def test_process_ends_when_nobody_can_ask_any_more(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", WRITER, "grouped", str(tmp_path / "lines")], cwd=ROOT, input=b"", timeout=60, check=False
    )

    assert ended.returncode == 0


def test_process_that_cannot_answer_is_shown_with_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="FileNotFoundError"),
        conversing(WRITER, "grouped", str(tmp_path / "nowhere" / "lines"), log=tmp_path / "log") as ask,
    ):
        ask(0, 0.01)


def test_command_runs_the_parts_alone_and_keeps_their_figures(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    options = ["--parts", "--only", "array", "--rounds", "1", "--seconds", "0.05", "--json", str(kept)]

    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert "plain list" in ended.stdout
    found = json.loads(kept.read_text())
    assert (found["cases"], found["crash"]) == ([], None)
    assert [part["part"] for part in found["parts"]] == ["an array as parameter"]
    assert found["parts"][0]["comparisons"][0]["beside"] == "plain list"
