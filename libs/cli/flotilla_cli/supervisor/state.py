"""What is known about running processes, kept in a file that `status` and `down` read."""

import json
import os
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil


class ProcessState(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class ProcessStatus:
    """One process as it is now."""

    name: str
    replica: int
    ports: dict[str, int]
    state: ProcessState = ProcessState.WAITING
    pid: int | None = None
    restarts: int = 0
    last_exit_code: int | None = None


@dataclass(slots=True)
class PlatformStatus:
    """The supervisor and its processes; `url` is where the first gateway listens."""

    supervisor_pid: int
    supervisor_started_at: float
    """The process's own start time, which with its number says who it is."""

    url: str
    development_model: bool
    is_ready: bool = False
    error: str | None = None
    """Why it could not start."""

    processes: list[ProcessStatus] = field(default_factory=list)

    def supervisor_is_alive(self) -> bool:
        """Says whether the very process that wrote this is running."""
        return supervisor_process(self) is not None


def supervisor_process(status: PlatformStatus) -> psutil.Process | None:
    """Returns the running supervisor, or None when it is gone or its number is now another program's."""
    try:
        process = psutil.Process(status.supervisor_pid)
        is_same = abs(process.create_time() - status.supervisor_started_at) < 1.0
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def write_status(file: Path, status: PlatformStatus) -> None:
    """Replaces the file in one step, so that a reader never sees half of it."""
    partial = file.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(asdict(status), indent=2))
    os.replace(partial, file)


def read_status(file: Path) -> PlatformStatus | None:
    """Returns what was written last, or None when nothing was or it cannot be understood."""
    try:
        raw: dict[str, Any] = json.loads(file.read_text())
        processes = [ProcessStatus(**{**item, "state": ProcessState(item["state"])}) for item in raw["processes"]]
        return PlatformStatus(**{**raw, "processes": processes})
    except (OSError, ValueError, KeyError, TypeError):
        return None
