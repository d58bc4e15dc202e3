"""Measures the platform beside its peers: `python -m benchmarks [--only TEXT] [--rounds N] [--json FILE]`.

It starts everything it measures on the loopback and stops it again. The exit code is 1 when any chat failed or any
acknowledged run is not stored as it was answered: a number beside lost work is no number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import uvloop

from benchmarks.cases import CASES, Case, Peer
from benchmarks.crash import CASE as CRASH
from benchmarks.crash import CrashOutcome, as_endpoint, kill_orchestrators
from benchmarks.peers import Endpoint, development_model, litellm_proxy, raw_proxy
from benchmarks.platform import running_platform
from benchmarks.report import as_json, as_table, crash_line
from benchmarks.rounds import Outcome, run_case

_ENVIRONMENT = Path.home() / ".cache" / "flotilla-bench" / "litellm"


def main() -> int:
    """Runs the chosen cases, prints tables as they come, and writes the JSON at the end."""
    arguments = _arguments()
    cases = [_shortened(case, arguments) for case in CASES if arguments.only in case.name]
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as folder:
        work = Path(folder)
        with development_model(work) as model:
            outcomes = _measure(cases, work, model, arguments.litellm) if cases else []
            crash = _crash(work, model) if arguments.only in CRASH.name else None
    if arguments.json is not None:
        arguments.json.write_bytes(
            orjson.dumps(as_json(outcomes, crash), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
        )
    return 0 if all(outcome.is_whole for outcome in outcomes) and (crash is None or crash.is_whole) else 1


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


def _shortened(case: Case, arguments: argparse.Namespace) -> Case:
    rounds = min(case.rounds, arguments.rounds or case.rounds)
    return replace(case, rounds=rounds, seconds=arguments.seconds or case.seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    parser.add_argument("--rounds", type=int, help="at most so many of each case")
    parser.add_argument("--seconds", type=float, help="of each round, instead of the case's own")
    parser.add_argument("--litellm", type=Path, default=_ENVIRONMENT, help="where LiteLLM is or will be installed")
    parser.add_argument("--json", type=Path, help="where all figures are written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
