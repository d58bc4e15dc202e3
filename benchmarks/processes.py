"""Processes that a benchmark starts: each in a group of its own, ready before it is used, gone afterwards."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import psutil

_STOP_S = 10.0
_ANSWER_S = 300.0
_ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """Returns a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str], *, ready_url: str, log: Path, env: Mapping[str, str] | None = None, wait_s: float = 60.0
) -> Iterator[int]:
    """Runs a command until the block ends; yields its process id once `ready_url` answers with 200."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, start_new_session=True
        )
    try:
        _wait_until_ready(process, ready_url, log, wait_s)
        yield process.pid
    finally:
        _stop(process)


@contextmanager
def conversing(
    module: str, *arguments: str, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[Callable[..., Any]]:
    """Runs a module until the block ends; yields a function that asks it a line of words and returns its JSON answer.

    A module that ends with its standard input ends even with a benchmark that is killed.
    """
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, cwd=_ROOT, env={**os.environ, **(env or {})}, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        words_in, answers_out = process.stdin, process.stdout
        try:
            yield lambda *words: orjson.loads(_answer(process, words_in, answers_out, words, log))
        finally:
            _stop(process)


def cpu_seconds(pids: Sequence[int]) -> float:
    """Returns user and system time of processes and all their descendants, in seconds; those that ended count no more.

    They are read from /proc, where they come in hundredths of a second.
    """
    return sum(_process_seconds(pid) for pid in pids)


def resident_mb(pids: Sequence[int]) -> int:
    """Returns the resident memory of processes, in MiB."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids if psutil.pid_exists(pid)) // 2**20


def _process_seconds(pid: int) -> float:
    try:
        root = psutil.Process(pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(time.user + time.system for time in times)


def _answer(
    process: subprocess.Popen[bytes], words_in: IO[bytes], answers_out: IO[bytes], words: Sequence[object], log: Path
) -> bytes:
    try:
        words_in.write(" ".join(map(str, words)).encode() + b"\n")
        line = answers_out.readline() if select.select([answers_out], [], [], _ANSWER_S)[0] else b""
    except BrokenPipeError:
        line = b""
    if not line:
        raise RuntimeError(f"{process.args!r} does not answer; {_end_of(log)}")
    return line


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} is not ready; {_end_of(log)}")


def _end_of(log: Path) -> str:
    return f"the end of its log:\n{log.read_text()[-2000:]}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
