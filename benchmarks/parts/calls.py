"""A call between services: over a shared stream, over plain gRPC, and over a shared stream with the event engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flotilla_common.identity import generate_key_pair

from benchmarks.parts.call_ends import SHARED
from benchmarks.parts.part import Part, Take, WrongContentError
from benchmarks.processes import conversing

_ENDS = "benchmarks.parts.call_ends"
_LOADS = (1, 16)
"""Calls in flight."""
_GRPC_DEFAULT = {"GRPC_EXPERIMENTS": ""}


@contextmanager
def open_calls(work: Path, *, transport: str, env: Mapping[str, str] | None = None) -> Iterator[Take]:
    """Runs both ends of a call, each in a process of its own."""
    for issuer in ("gateway", "orchestrator"):
        generate_key_pair(work / f"{issuer}.pem", work / f"{issuer}.pub")
    with (
        conversing(_ENDS, "serve", transport, str(work), log=work / "server.log", env=env) as server,
        conversing(_ENDS, "ask", transport, str(work), str(server("port")), log=work / "client.log", env=env) as ask,
    ):

        def take(seconds: float) -> Mapping[str, float]:
            figures: dict[str, float] = {}
            for at_once in _LOADS:
                figures |= checked_figures(ask(at_once, seconds / len(_LOADS)), at_once)
            return figures

        yield take


def checked_figures(found: Mapping[str, float], at_once: int) -> dict[str, float]:
    """Returns what a client measured. Raises WrongContentError if a call was answered wrongly or went another way."""
    if not found["calls"] or found["wrong"] or found["astray"]:
        raise WrongContentError(
            f"of {found['calls']} calls {found['wrong']} were answered wrongly, {found['astray']} went astray"
        )
    return {f"c{at_once}, round trip p50": found["p50_us"], f"c{at_once}, CPU of both ends": found["cpu_us"]}


PART = Part(
    "a call between services",
    {
        "shared stream": partial(open_calls, transport=SHARED),
        "plain gRPC": partial(open_calls, transport="plain"),
        "shared, event engine on": partial(open_calls, transport=SHARED, env=_GRPC_DEFAULT),
    },
    seconds=1.2,
)
