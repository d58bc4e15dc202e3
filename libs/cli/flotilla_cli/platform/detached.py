"""Starts a platform in the background and waits until it is ready."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from flotilla_cli.failure import CommandError
from flotilla_cli.home import Home
from flotilla_cli.platform.plan import Plan
from flotilla_cli.platform.progress import Progress
from flotilla_cli.supervisor.log_files import open_log, tail
from flotilla_cli.supervisor.state import read_status

_POLL_S = 0.1
_LOG = "up.log"


def start_detached(plan: Plan, arguments: Sequence[str]) -> None:
    """Runs `flotilla` with the arguments in a session of its own; returns when ready. Raises CommandError."""
    plan.home.prepare()
    started_at = time.monotonic()
    process = _spawn(plan, arguments)
    progress = Progress(plan.home, started_at, hint=f"It goes on in the background (pid {process.pid}).")
    while True:
        # In this order: what it wrote last is read after it ended.
        has_ended = process.poll() is not None
        status = read_status(plan.home.state_file)
        if status is not None and status.supervisor_pid == process.pid:
            progress.report(status)
            if status.is_ready:
                return
        if has_ended:
            raise CommandError(_last_words(plan.home))
        time.sleep(_POLL_S)


def _last_words(home: Home) -> str:
    """Returns the failure that the ended process printed, which is what it printed last."""
    text = "\n".join(tail(home.logs / _LOG, 60))
    return text.rpartition("\nerror: ")[2].removeprefix("error: ") or "it ended without a word"


def _spawn(plan: Plan, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    file = plan.home.logs / _LOG
    file.unlink(missing_ok=True)
    log = open_log(file)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "flotilla_cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
