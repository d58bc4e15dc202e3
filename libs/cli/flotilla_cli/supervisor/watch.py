"""Keeps one process running: start, wait until it is ready, wait until it ends, start it again."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flotilla_cli.supervisor.backoff import Backoff
from flotilla_cli.supervisor.child import Child, start_child
from flotilla_cli.supervisor.spec import ProcessSpec
from flotilla_cli.supervisor.state import ProcessState, ProcessStatus

# The exit code of a process that refuses its settings; trying again cannot help.
SETTINGS_REFUSED = 2
_POLL_S = 0.1


class ProcessFailedError(RuntimeError):
    """A process does not become ready."""

    def __init__(self, spec: ProcessSpec, reason: str) -> None:
        super().__init__(f"{spec.label} {reason}")
        self.spec = spec


@dataclass(slots=True)
class Watch:
    """The life of one process under supervision."""

    spec: ProcessSpec
    log_file: Path
    on_change: Callable[[], None]
    backoff: Backoff = field(default_factory=Backoff)
    start_timeout_s: float = 60.0
    start_attempts: int = 3
    status: ProcessStatus = field(init=False)
    _child: Child | None = None
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        """Makes the status that others read."""
        self.status = ProcessStatus(self.spec.name, self.spec.replica, dict(self.spec.ports))

    async def start(self) -> None:
        """Starts the process and returns when it is ready; afterwards it is kept running. Raises ProcessFailedError."""
        for attempt in range(1, self.start_attempts + 1):
            child = await self._spawn(ProcessState.STARTING)
            code = await self._until_ready(child)
            if code is None:
                self._task = asyncio.create_task(self._keep_running(child), name=self.spec.label)
                return
            if code == SETTINGS_REFUSED or attempt == self.start_attempts:
                self._change(ProcessState.FAILED, pid=None)
                raise ProcessFailedError(self.spec, f"ended with code {code} while starting")
            await asyncio.sleep(self.backoff.next_delay_s(ran_for_s=0))

    async def let_go(self) -> None:
        """Stops starting the process again, however it ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        """Ends the process for good."""
        await self.let_go()
        if self._child is None:
            return
        self._change(ProcessState.STOPPING)
        self.status.last_exit_code = await self._child.stop()
        self._child = None
        self._change(ProcessState.STOPPED, pid=None)

    def kill(self) -> None:
        """Kills the process without asking."""
        if self._child is not None:
            self._child.kill()

    async def _keep_running(self, child: Child) -> None:
        while True:
            started = time.monotonic()
            self.status.last_exit_code = await child.wait()
            child.kill_group()
            self.status.restarts += 1
            self._change(ProcessState.RESTARTING, pid=None)
            await asyncio.sleep(self.backoff.next_delay_s(ran_for_s=time.monotonic() - started))
            child = await self._spawn(ProcessState.RESTARTING)
            if await self._until_ready(child) == SETTINGS_REFUSED:
                self._change(ProcessState.FAILED, pid=None)
                return

    async def _spawn(self, state: ProcessState) -> Child:
        child = self._child = await start_child(self.spec, self.log_file)
        self._change(state, pid=child.pid)
        return child

    async def _until_ready(self, child: Child) -> int | None:
        """Returns None when it is ready, or the exit code when it ended before; kills what takes too long."""
        ended = asyncio.create_task(child.wait())
        deadline = time.monotonic() + self.start_timeout_s
        try:
            while not ended.done():
                if await self.spec.is_ready() and not ended.done():
                    self._change(ProcessState.READY)
                    return None
                if time.monotonic() > deadline:
                    child.kill()
                await asyncio.wait({ended}, timeout=_POLL_S)
            return ended.result()
        finally:
            ended.cancel()

    def _change(self, state: ProcessState, **changes: int | None) -> None:
        self.status.state = state
        if "pid" in changes:
            self.status.pid = changes["pid"]
        self.on_change()
