"""Finds what a killed predecessor left: every process of ours carries a mark in its environment."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress

import psutil

MARK = "FLOTILLA_UP_HOME"


def find_marked(home: str) -> list[psutil.Process]:
    """Returns the running processes that an `up` on this home started, or that those started; never ourselves."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == home:
                found.append(process)
    return found


def stop_marked(home: str, *, timeout_s: float = 5.0) -> int:
    """Ends them, by force if need be, and returns how many there were."""
    processes = find_marked(home)
    if not processes:
        return 0
    _signal_all(processes, signal.SIGTERM)
    # A frozen process does not see the request before it goes on.
    _signal_all(processes, signal.SIGCONT)
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    _signal_all(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=timeout_s)
    return len(processes)


def _signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)
