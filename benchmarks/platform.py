"""The platform under measurement: `flotilla up` in a home of its own, stopped and removed afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.processes import free_port

_STORES = frozenset({"postgres", "valkey"})
SERVICES = ("gateway", "orchestrator", "memory", "tool", "evaluator")
# A process of its own takes 500 runs and 256 model calls by default; here one of each has to take all users.
_ROOM = {"ORCHESTRATOR_MAX_CONCURRENT_RUNS": "2500", "FLOTILLA_MODEL_MAX_CONCURRENCY": "2500"}


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform as its `status` command describes it."""

    home: Path
    base_urls: tuple[str, ...]
    """One a gateway replica, such as "http://127.0.0.1:8080"."""
    api_key: str
    pids: Mapping[str, Sequence[int]]
    """Process ids by service name, the stores among them."""


@contextmanager
def running_platform(home: Path, *, model_url: str, replicas: str = "") -> Iterator[Platform]:
    """Runs the whole platform against a model until the block ends."""
    options = ["--port", str(free_port()), "--model-base-url", model_url, "--model", "flotilla-dev"]
    if replicas:
        options += ["--replicas", replicas]
    model = {"FLOTILLA_MODEL_API_KEY": "none", "FLOTILLA_EMBEDDING_MODEL": "flotilla-dev-embed"}
    try:
        _flotilla(home, "up", "--detach", *options, env=_ROOM | model)
        yield find_platform(home)
    finally:
        _flotilla(home, "down")


def find_platform(home: Path) -> Platform:
    """Returns the platform that runs in `home`, with a new key for many users. Raises CalledProcessError without."""
    processes = json.loads(_flotilla(home, "status", "--json"))["processes"]
    pids: dict[str, list[int]] = defaultdict(list)
    for process in processes:
        pids[process["name"]].append(process["pid"])
    urls = [f"http://127.0.0.1:{process['ports']['http']}" for process in processes if process["name"] == "gateway"]
    scopes = ["--scope", "chat", "--scope", "act_as", "--requests-per-minute", "1000000"]
    key = _flotilla(home, "keys", "create", "benchmark", *scopes)
    return Platform(home, tuple(urls), key.strip(), pids)


def shares(platform: Platform, seconds: Mapping[str, float]) -> tuple[float, float]:
    """Returns how much of some CPU time the five services used, and how much the stores."""
    services = sum(value for name, value in seconds.items() if name in SERVICES)
    return services, sum(value for name, value in seconds.items() if name in _STORES)


def kill_one(platform: Platform, service: str) -> None:
    """Kills the first replica of a service as a lost machine would."""
    psutil.Process(platform.pids[service][0]).kill()


def _flotilla(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    command = [sys.executable, "-m", "flotilla_cli", *arguments, "--home", str(home)]
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})}
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{' '.join(arguments)}: {error.stderr[-1000:]}") from error
    return done.stdout
