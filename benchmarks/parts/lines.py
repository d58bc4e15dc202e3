"""A log line: written with those of its moment and later, or by itself and at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import orjson

from benchmarks.parts.line_writer import GROUPED, MESSAGE
from benchmarks.parts.part import Part, Take, WrongContentError
from benchmarks.processes import conversing


@contextmanager
def open_lines(work: Path, *, how: str) -> Iterator[Take]:
    """Runs a process that logs into a file."""
    file, first = work / "lines.jsonl", 0
    with conversing("benchmarks.parts.line_writer", how, str(file), log=work / "writer.log") as ask:

        def take(seconds: float) -> Mapping[str, float]:
            nonlocal first
            found = ask(first, seconds)
            first += found["lines"]
            check(file.read_text(), first)
            return {"what an answer waits for": found["wait_us"], "CPU of a line": found["cpu_us"]}

        yield take


def check(text: str, lines: int) -> None:
    """Raises WrongContentError unless so many lines are there, whole and in their order."""
    try:
        written = [orjson.loads(line) for line in text.splitlines()]
    except orjson.JSONDecodeError as error:
        raise WrongContentError(f"a line is no JSON: {error}") from error
    if [(line.get("message"), line.get("number")) for line in written] != [(MESSAGE, at) for at in range(lines)]:
        raise WrongContentError(f"of {lines} lines {len(written)} are there, or in another order")


PART = Part(
    "a log line",
    {"lines of 100 ms together": partial(open_lines, how=GROUPED), "a write each": partial(open_lines, how="single")},
    seconds=0.8,
)
