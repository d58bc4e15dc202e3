"""A platform that `flotilla up` runs: where it answers, which key opens it, and what CPU its processes have used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform as its `status` and `env` commands describe it."""

    home: Path
    base_urls: tuple[str, ...]
    """One a gateway replica, such as "http://127.0.0.1:8080"."""
    api_key: str
    pids: dict[str, tuple[int, ...]]
    """Process ids by service name, the stores and the development model among them."""


def _flotilla(home: Path, *arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "flotilla"), *arguments, "--home", str(home)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def find_platform(home: Path) -> Platform:
    """Returns the platform that runs in `home`. Raises CalledProcessError when none does."""
    status = json.loads(_flotilla(home, "status", "--json"))
    pids: dict[str, list[int]] = defaultdict(list)
    for process in status["processes"]:
        pids[process["name"]].append(process["pid"])
    urls = [
        f"http://127.0.0.1:{process['ports']['http']}"
        for process in status["processes"]
        if process["name"] == "gateway"
    ]
    exports = dict(
        line.removeprefix("export ").split("=", 1) for line in _flotilla(home, "env").splitlines() if "=" in line
    )
    return Platform(
        home, tuple(urls), exports["OPENAI_API_KEY"].strip("'\""), {name: tuple(p) for name, p in pids.items()}
    )


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """Returns user and system time of processes and all their descendants, in seconds."""
    total = 0.0
    for pid in pids:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            times = process.cpu_times()
            total += times.user + times.system
    return total


def resident_bytes(pids: tuple[int, ...]) -> int:
    """Returns the resident memory of processes, in bytes."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)
