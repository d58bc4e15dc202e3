"""One operating-system process in a session of its own."""

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flotilla_cli.supervisor.log_files import open_log
from flotilla_cli.supervisor.spec import ProcessSpec


@dataclass(frozen=True, slots=True)
class Child:
    """A started process and everything it started."""

    spec: ProcessSpec
    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group."""
        return self.process.pid

    async def wait(self) -> int:
        """Returns the exit code once it ended; negative for a signal."""
        return await self.process.wait()

    async def stop(self) -> int:
        """Asks it to end, kills it when it does not, and kills what it started."""
        self._signal(self.spec.stop_signal)
        # A process that was frozen would never see the request.
        self._signal(signal.SIGCONT)
        try:
            code = await asyncio.wait_for(asyncio.shield(self.process.wait()), self.spec.stop_timeout_s)
        except TimeoutError:
            self.kill()
            code = await self.process.wait()
        self.kill_group()
        return code

    def kill(self) -> None:
        """Kills it at once, with everything it started."""
        self._signal(signal.SIGKILL)
        self.kill_group()

    def kill_group(self) -> None:
        """Kills what it started and did not take along; harmless when there is nothing."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


async def start_child(spec: ProcessSpec, log_file: Path) -> Child:
    """Starts the process with its output in the log file."""
    log = open_log(log_file)
    try:
        process = await asyncio.create_subprocess_exec(
            *spec.command,
            env=dict(spec.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            user=spec.uid,
            group=spec.gid,
            extra_groups=None if spec.uid is None else [],
        )
    finally:
        os.close(log)
    return Child(spec, process)
