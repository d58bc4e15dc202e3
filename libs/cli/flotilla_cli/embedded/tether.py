"""Ties a child to the life of its parent, where the kernel can."""

import shutil
import subprocess
import sys
from functools import cache
from signal import Signals


def tether(death_signal: Signals) -> tuple[str, ...]:
    """Returns the command prefix that has the kernel send the signal when the parent dies; empty where it cannot.

    A program does it rather than a function between fork and exec, which would be unsafe beside threads.
    """
    if not _setpriv_can_tether():
        return ()
    return ("setpriv", "--pdeathsig", death_signal.name.removeprefix("SIG"), "--")


@cache
def _setpriv_can_tether() -> bool:
    if not sys.platform.startswith("linux") or shutil.which("setpriv") is None:
        return False
    # BusyBox has a setpriv without this option.
    probe = ["setpriv", "--pdeathsig", "TERM", "--", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0
