"""A whole platform as `flotilla up --detach` starts it, for tests that only act as its users and its operators do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg

FLOTILLA = str(Path(sys.executable).parent / "flotilla")


def free_port_range(count: int) -> int:
    """Returns the first of `count` neighbouring ports that are free at this moment.

    They lie between those that `flotilla up` gives its other processes and those that the system gives to connections.
    """
    for first in range(30_000 + os.getpid() % 2_000, 32_700, 16):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, candidate in enumerate(sockets):
                candidate.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        finally:
            for candidate in sockets:
                candidate.close()
        return first
    raise RuntimeError("no free ports")


@dataclass(frozen=True)
class RunningPlatform:
    """Two gateways and two orchestrators on one machine."""

    home: Path
    port: int

    @classmethod
    def start(cls, home: Path, *, gateways: int = 2, orchestrators: int = 2) -> RunningPlatform:
        """Starts a platform in `home` and returns when it is ready."""
        platform = cls(home, free_port_range(gateways))
        replicas = f"gateway={gateways},orchestrator={orchestrators}"
        platform.flotilla("up", "--detach", "--port", str(platform.port), "--replicas", replicas)
        return platform

    def flotilla(self, *arguments: str) -> str:
        """Runs the `flotilla` command on this home and returns what it prints. Raises AssertionError when it fails."""
        done = subprocess.run(
            [FLOTILLA, *arguments, "--home", str(self.home)], capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, f"flotilla {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        """Stops the platform and removes its home."""
        self.flotilla("down")
        shutil.rmtree(self.home, ignore_errors=True)

    @cached_property
    def api_key(self) -> str:
        """The developer's API key."""
        return (self.home / "developer-key").read_text().strip()

    @cached_property
    def admin_key(self) -> str:
        """The administrator's API key."""
        return (self.home / "admin-key").read_text().strip()

    def url(self, gateway: int = 0) -> str:
        """Returns a gateway replica's address."""
        return f"http://127.0.0.1:{self.port + gateway}"

    def processes(self, name: str) -> list[dict[str, Any]]:
        """Returns the rows of `flotilla status --json` for one service, by replica."""
        rows = json.loads(self.flotilla("status", "--json"))["processes"]
        return [row for row in rows if row["name"] == name]

    def kill(self, process: dict[str, Any], how: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to one process of this platform."""
        os.kill(process["pid"], how)

    def database(self) -> psycopg.Connection:
        """Connects to the platform's database as its operator does."""
        [row] = self.processes("postgres")
        password = (self.home / "secrets" / "postgres-superuser").read_text().strip()
        return psycopg.connect(
            host="127.0.0.1",
            port=row["ports"]["sql"],
            user="postgres",
            password=password,
            dbname="flotilla",
            autocommit=True,
        )

    def metrics_text(self, process: dict[str, Any]) -> str:
        """Returns what one process shows at /metrics."""
        with closing(urlopen(f"http://127.0.0.1:{process['ports']['metrics']}/metrics", timeout=5)) as reply:
            text: str = reply.read().decode()
        return text

    def metric(self, process: dict[str, Any], name: str) -> float:
        """Returns the sum of a metric's samples in one process; 0 when it has none."""
        lines = self.metrics_text(process).splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def owner_among(self, orchestrators: list[dict[str, Any]]) -> dict[str, Any]:
        """Returns the orchestrator that has a run in flight. Raises LookupError when none has."""
        for process in orchestrators:
            if self.metric(process, "flotilla_runs_active") > 0:
                return process
        raise LookupError("no orchestrator has a run in flight")
