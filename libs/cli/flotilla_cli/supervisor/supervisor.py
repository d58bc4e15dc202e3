"""Starts groups of processes, keeps them running, and stops them in the opposite order."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from flotilla_cli.supervisor.log_files import bound_logs
from flotilla_cli.supervisor.spec import ProcessSpec
from flotilla_cli.supervisor.state import ProcessStatus
from flotilla_cli.supervisor.watch import Watch

_BOUND_LOGS_EVERY_S = 5.0


class Supervisor:
    """The processes of one platform; `on_change` is called after each change of a status."""

    def __init__(self, logs: Path, on_change: Callable[[], None]) -> None:
        self._logs = logs
        self._on_change = on_change
        self._groups: list[list[Watch]] = []
        self._log_keeper: asyncio.Task[None] | None = None

    @property
    def statuses(self) -> list[ProcessStatus]:
        """Every process, in the order of starting."""
        return [watch.status for group in self._groups for watch in group]

    async def start(self, *groups: Sequence[ProcessSpec]) -> None:
        """Starts all at once and returns when all is ready; groups matter for stopping. Raises ProcessFailedError."""
        new = [[Watch(spec, self.log_file(spec), self._on_change) for spec in group] for group in groups]
        self._groups += new
        self._on_change()
        if self._log_keeper is None:
            self._log_keeper = asyncio.create_task(self._bound_logs(), name="log keeper")
        try:
            async with asyncio.TaskGroup() as starting:
                for watch in (watch for group in new for watch in group):
                    starting.create_task(watch.start())
        except ExceptionGroup as failures:
            # The first one is the cause to look at; the others follow from it.
            raise failures.exceptions[0] from None

    async def stop(self) -> None:
        """Ends everything, the last group first; a group ends together."""
        if self._log_keeper is not None:
            self._log_keeper.cancel()
        # Before anything ends: what goes because its peers went is not a crash.
        await asyncio.gather(*(watch.let_go() for group in self._groups for watch in group))
        for group in reversed(self._groups):
            await asyncio.gather(*(watch.stop() for watch in group))

    def kill(self) -> None:
        """Kills everything without asking; for a stop that takes too long."""
        for group in self._groups:
            for watch in group:
                watch.kill()

    def log_file(self, spec: ProcessSpec) -> Path:
        """Returns where the process's output goes."""
        return self._logs / f"{spec.label}.log"

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(_BOUND_LOGS_EVERY_S)
            await asyncio.to_thread(bound_logs, self._logs)
