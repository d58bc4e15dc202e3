"""The supervisor with real child processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from flotilla_cli.embedded.ports import free_port
from flotilla_cli.embedded.tether import tether
from flotilla_cli.supervisor.leftovers import MARK, find_marked, stop_marked
from flotilla_cli.supervisor.readiness import http_check
from flotilla_cli.supervisor.spec import Check, ProcessSpec
from flotilla_cli.supervisor.state import ProcessState
from flotilla_cli.supervisor.supervisor import Supervisor
from flotilla_cli.supervisor.watch import ProcessFailedError

SLEEPER = "import time; time.sleep(600)"
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
time.sleep(600)
"""
SERVER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
REFUSER = """
import sys
print("MEMORY_DATABASE_URL: missing")
sys.exit(2)
"""
TURNCOAT = """
import os, sys, time
tried, ready = sys.argv[1:]
if os.path.exists(tried):
    sys.exit(2)
for file in (tried, ready):
    open(file, "w").close()
time.sleep(600)
"""
LATE = """
import os, sys, time
tried, ready = sys.argv[1:]
if not os.path.exists(tried):
    open(tried, "w").close()
    sys.exit(1)
open(ready, "w").close()
time.sleep(600)
"""
STARTER = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(child.pid))
time.sleep(600)
"""


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tmp_path, on_change=lambda: None)
    yield supervisor
    await supervisor.stop()


def python(code: str, *arguments: object, **settings: object) -> ProcessSpec:
    defaults: dict[str, object] = {"name": "child", "is_ready": at_once, "environment": {"PATH": os.environ["PATH"]}}
    command = (sys.executable, "-c", code, *map(str, arguments))
    return ProcessSpec(command=command, **{**defaults, **settings})  # type: ignore[arg-type]  # fills in for brevity


async def at_once() -> bool:
    return True


def exists(file: Path) -> Check:
    async def check() -> bool:
        return await asyncio.to_thread(file.exists)

    return check


async def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the kernel tells no event of ours
            await asyncio.sleep(0.02)


def pid_of(supervisor: Supervisor, index: int = 0) -> int:
    pid = supervisor.statuses[index].pid
    assert pid is not None
    return pid


def is_gone(process: psutil.Process) -> bool:
    """True once it runs no more; it may end while it is looked at."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_start_returns_when_all_are_ready(supervisor: Supervisor) -> None:
    port = free_port()

    await supervisor.start([python(SERVER, port, is_ready=http_check(port, "/")), python(SLEEPER, replica=2)])

    assert [status.state for status in supervisor.statuses] == [ProcessState.READY, ProcessState.READY]


async def test_killed_process_is_started_again(supervisor: Supervisor) -> None:
    await supervisor.start([python(SLEEPER)])
    first = pid_of(supervisor)

    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.statuses[0].restarts == 1 and supervisor.statuses[0].state is ProcessState.READY)

    assert pid_of(supervisor) != first
    assert supervisor.statuses[0].last_exit_code == -signal.SIGKILL


async def test_stop_leaves_no_process(supervisor: Supervisor) -> None:
    await supervisor.start([python(SLEEPER)], [python(SLEEPER, replica=2)])
    pids = [pid_of(supervisor, index) for index in (0, 1)]

    await supervisor.stop()

    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert [status.state for status in supervisor.statuses] == [ProcessState.STOPPED, ProcessState.STOPPED]


async def test_stop_takes_a_processs_own_children_along(supervisor: Supervisor) -> None:
    await supervisor.start([python(PARENT)])
    parent = psutil.Process(pid_of(supervisor))
    await until(lambda: bool(parent.children()))
    child = parent.children()[0]

    await supervisor.stop()

    await until(lambda: is_gone(child))


async def test_crash_takes_a_processs_own_children_along(supervisor: Supervisor) -> None:
    await supervisor.start([python(PARENT)])
    parent = psutil.Process(pid_of(supervisor))
    await until(lambda: bool(parent.children()))
    child = parent.children()[0]

    parent.kill()

    await until(lambda: is_gone(child))


async def test_process_that_ignores_the_request_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    started = tmp_path / "started"
    await supervisor.start([python(STUBBORN, started, stop_timeout_s=0.3, is_ready=exists(started))])
    pid = pid_of(supervisor)

    await supervisor.stop()

    assert not psutil.pid_exists(pid)
    assert supervisor.statuses[0].last_exit_code == -signal.SIGKILL


async def test_frozen_process_can_be_stopped(supervisor: Supervisor) -> None:
    await supervisor.start([python(SLEEPER)])
    pid = pid_of(supervisor)
    os.kill(pid, signal.SIGSTOP)

    await supervisor.stop()

    assert not psutil.pid_exists(pid)


async def test_refused_settings_fail_at_once_with_their_message_in_the_log(supervisor: Supervisor) -> None:
    refuser = python(REFUSER, is_ready=exists(Path("/nowhere")))

    with pytest.raises(ProcessFailedError, match="child-1 ended with code 2"):
        await supervisor.start([refuser])

    assert "MEMORY_DATABASE_URL" in supervisor.log_file(refuser).read_text()
    assert supervisor.statuses[0].state is ProcessState.FAILED


async def test_settings_refused_at_a_restart_are_not_tried_again(supervisor: Supervisor, tmp_path: Path) -> None:
    tried, ready = tmp_path / "tried", tmp_path / "ready"
    await supervisor.start([python(TURNCOAT, tried, ready, is_ready=exists(ready))])
    ready.unlink()

    os.kill(pid_of(supervisor), signal.SIGKILL)
    await until(lambda: supervisor.statuses[0].state is ProcessState.FAILED)

    assert (supervisor.statuses[0].restarts, supervisor.statuses[0].pid) == (1, None)


async def test_a_process_that_crashes_while_starting_is_tried_again(supervisor: Supervisor, tmp_path: Path) -> None:
    tried, ready = tmp_path / "tried", tmp_path / "ready"

    await supervisor.start([python(LATE, tried, ready, is_ready=exists(ready))])

    assert tried.exists()
    assert supervisor.statuses[0].state is ProcessState.READY


async def test_one_failure_stops_nothing_by_itself_but_stop_ends_the_rest(supervisor: Supervisor) -> None:
    failing = python("import sys; sys.exit(2)", is_ready=exists(Path("/nowhere")), replica=2)

    with pytest.raises(ProcessFailedError):
        await supervisor.start([python(SLEEPER), failing])
    pid = pid_of(supervisor)
    await supervisor.stop()

    assert not psutil.pid_exists(pid)


def test_marked_processes_of_a_killed_supervisor_are_found_and_stopped(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], MARK: str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", SLEEPER], env=environment, start_new_session=True) as process:
        try:
            # A program that has only just begun shows no environment for a moment.
            asyncio.run(until(lambda: [found.pid for found in find_marked(str(tmp_path))] == [process.pid]))

            assert stop_marked(str(tmp_path)) == 1

            assert not psutil.pid_exists(process.pid)
        finally:
            process.kill()


def test_an_unmarked_process_is_not_ours(tmp_path: Path) -> None:
    assert stop_marked(str(tmp_path)) == 0


@pytest.mark.skipif(not tether(signal.SIGTERM), reason="only Linux ends children with their parent")
async def test_tethered_child_dies_with_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = [*tether(signal.SIGTERM), sys.executable, "-c", SLEEPER]
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", STARTER, str(pid_file), *child)
    await until(lambda: pid_file.exists() and bool(pid_file.read_text()))
    sleeper = psutil.Process(int(await asyncio.to_thread(pid_file.read_text)))
    # The kernel is told by a program that then becomes the child.
    await until(lambda: sleeper.cmdline()[:1] == [sys.executable])

    parent.kill()
    await parent.wait()

    await until(lambda: is_gone(sleeper))
