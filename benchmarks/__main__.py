"""Measures parts beside what they took the place of, then the platform beside its peers.

`python -m benchmarks [--parts] [--only TEXT] [--rounds N] [--json FILE]`. It starts everything it measures on the
loopback and stops it again. The exit code is 1 when any chat failed, any acknowledged run is not stored as it was
answered, or a part did something wrong: a number beside lost work is no number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import orjson
import uvloop

from benchmarks.cases import CASES, Case, Peer
from benchmarks.crash import CASE as CRASH
from benchmarks.crash import CrashOutcome, as_endpoint, kill_orchestrators
from benchmarks.parts import arrays, calls, lines
from benchmarks.parts.part import Part, PartOutcome, run_part
from benchmarks.peers import Endpoint, development_model, litellm_proxy, raw_proxy
from benchmarks.platform import running_platform
from benchmarks.report import as_json, as_part_table, as_table, crash_line
from benchmarks.rounds import Outcome, run_case

Measured = TypeVar("Measured", Case, Part)
PARTS = (calls.PART, arrays.PART, lines.PART)
_ENVIRONMENT = Path.home() / ".cache" / "flotilla-bench" / "litellm"


def main() -> int:
    """Runs the chosen parts and cases, prints tables as they come, and writes the JSON at the end."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as folder:
        work = Path(folder)
        parts = _parts(work / "parts", arguments)
        outcomes, crash = ([], None) if arguments.parts else _platform(work, arguments)
    if arguments.json is not None:
        arguments.json.write_bytes(
            orjson.dumps(as_json(outcomes, crash, parts), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
        )
    is_whole = all(outcome.is_whole for outcome in outcomes) and all(part.is_whole for part in parts)
    return 0 if is_whole and (crash is None or crash.is_whole) else 1


def _parts(work: Path, arguments: argparse.Namespace) -> list[PartOutcome]:
    chosen = [_shortened(part, arguments) for part in PARTS if arguments.only in part.name]
    outcomes = [run_part(part, work / part.name.replace(" ", "-")) for part in chosen]
    if outcomes:
        print(as_part_table(outcomes), flush=True)
    return outcomes


def _platform(work: Path, arguments: argparse.Namespace) -> tuple[list[Outcome], CrashOutcome | None]:
    cases = [_shortened(case, arguments) for case in CASES if arguments.only in case.name]
    is_killing = arguments.only in CRASH.name
    if not cases and not is_killing:
        return [], None
    with development_model(work) as model:
        outcomes = _measure(cases, work, model, arguments.litellm) if cases else []
        return outcomes, _crash(work, model) if is_killing else None


def _measure(cases: Sequence[Case], work: Path, model: Endpoint, environment: Path) -> list[Outcome]:
    outcomes = []
    with _endpoints({peer for case in cases for peer in case.peers}, work, model, environment) as endpoints:
        for case in cases:
            outcomes.append(uvloop.run(run_case(case, endpoints)))
            print(as_table(outcomes[-1]), flush=True)
    return outcomes


def _crash(work: Path, model: Endpoint) -> CrashOutcome:
    crash = uvloop.run(kill_orchestrators(work / "crash", f"{model.base_urls[0]}/v1"))
    print(crash_line(crash), flush=True)
    return crash


@contextmanager
def _endpoints(peers: set[Peer], work: Path, model: Endpoint, environment: Path) -> Iterator[dict[Peer, Endpoint]]:
    """Starts what the cases compare; everything runs throughout, idle while another is measured."""
    with ExitStack() as stack:
        platform = stack.enter_context(running_platform(work / "home", model_url=f"{model.base_urls[0]}/v1"))
        endpoints = {Peer.DIRECT: model, Peer.FLOTILLA: as_endpoint(platform)}
        if Peer.LITELLM in peers:
            endpoints[Peer.LITELLM] = stack.enter_context(litellm_proxy(work, model, environment))
        if Peer.RAW in peers:
            endpoints[Peer.RAW] = stack.enter_context(raw_proxy(work, model))
        yield endpoints


def _shortened(measured: Measured, arguments: argparse.Namespace) -> Measured:
    rounds = min(measured.rounds, arguments.rounds or measured.rounds)
    return replace(measured, rounds=rounds, seconds=arguments.seconds or measured.seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--parts", action="store_true",
        help="only the parts by themselves: calls between services, arrays as parameters, log lines; under a minute",
    )  # fmt: skip
    parser.add_argument("--only", default="", help="parts and cases whose name has this text")
    parser.add_argument("--rounds", type=int, help="at most so many of each part and case")
    parser.add_argument("--seconds", type=float, help="of each round, instead of the part's or case's own")
    parser.add_argument("--litellm", type=Path, default=_ENVIRONMENT, help="where LiteLLM is or will be installed")
    parser.add_argument("--json", type=Path, help="where all figures are written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
