"""What `doctor` looks at."""

import os
import platform
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from flotilla_cli.embedded.account import postgres_account
from flotilla_cli.embedded.binaries import BinaryMissingError, postgres_tree, valkey_server
from flotilla_cli.embedded.ports import is_free
from flotilla_cli.embedded.tether import tether
from flotilla_cli.gateway import client
from flotilla_cli.home import Home
from flotilla_cli.platform.port_holders import holder_of
from flotilla_cli.supervisor.leftovers import find_marked
from flotilla_cli.supervisor.state import PlatformStatus, ProcessState, ProcessStatus, read_status

_OLDEST_PYTHON = (3, 11)
_NEEDED_DISK_BYTES = 2 * 1024**3
_DEFAULT_PORT = 8080


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found."""

    subject: str
    is_well: bool
    detail: str


def check_machine(home: Home) -> Iterator[Verdict]:
    """Yields what can be said without anything running."""
    yield Verdict("Python", sys.version_info >= _OLDEST_PYTHON, f"{platform.python_version()} on {platform.platform()}")
    yield _binary("Postgres", postgres_tree)
    yield _binary("Valkey", valkey_server)
    yield Verdict("account of Postgres", True, _describe_account())
    tied = "children end with their parent" if tether(signal.SIGTERM) else "leftovers are found by their environment"
    yield Verdict("process supervision", True, tied)
    yield _disk(home)
    yield _permissions(home)


def check_running(home: Home) -> Iterator[Verdict]:
    """Yields what can be said about a platform on this home."""
    status = read_status(home.state_file)
    if status is None or not status.supervisor_is_alive():
        left = find_marked(str(home.path))
        pids = ", ".join(str(process.pid) for process in left)
        yield Verdict(
            "platform", not left, f"left by a killed one: {pids}; run flotilla down" if left else "not running"
        )
        yield _default_port()
        return
    yield Verdict("platform", True, f"{status.url}, supervised by pid {status.supervisor_pid}")
    yield from map(_process, status.processes)
    yield _gateway(home, status)


def _binary(subject: str, find: Callable[[], Path]) -> Verdict:
    try:
        return Verdict(subject, True, str(find()))
    except BinaryMissingError as exc:
        return Verdict(subject, False, str(exc))


def _describe_account() -> str:
    account = postgres_account()
    if account.uid is not None:
        return f"uid {account.uid}, from a copy of its programs"
    return "root's files, another uid inside a user namespace" if account.prefix else "your own"


def _disk(home: Home) -> Verdict:
    free = shutil.disk_usage(_nearest_existing(home.path)).free
    return Verdict("free disk", free >= _NEEDED_DISK_BYTES, f"{free / 1024**3:.1f} GB at {home.path}")


def _permissions(home: Home) -> Verdict:
    if not home.path.exists():
        return Verdict("home", os.access(_nearest_existing(home.path), os.W_OK), f"{home.path} will be made")
    others = stat.S_IMODE(home.path.stat().st_mode) & 0o077
    detail = f"{home.path}, {stat.filemode(home.path.stat().st_mode)}"
    return Verdict("home", not others, detail + ("; others may look in: chmod 700" if others else ""))


def _default_port() -> Verdict:
    free = is_free(_DEFAULT_PORT)
    return Verdict(f"port {_DEFAULT_PORT}", free, "free" if free else f"taken by {holder_of(_DEFAULT_PORT)}")


def _process(process: ProcessStatus) -> Verdict:
    detail = f"{process.state}, pid {process.pid}, {process.restarts} restarts"
    return Verdict(f"{process.name}-{process.replica}", process.state is ProcessState.READY, detail)


def _gateway(home: Home, status: PlatformStatus) -> Verdict:
    try:
        with client(home, url=status.url, timeout_s=5) as gateway:
            response = gateway.get("/v1/models")
        return Verdict("developer key", response.is_success, f"GET /v1/models answers {response.status_code}")
    except httpx.HTTPError as exc:
        return Verdict("developer key", False, f"no answer from {status.url}: {exc}")


def _nearest_existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
