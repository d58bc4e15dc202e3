"""Runs a platform in the foreground until it is told to stop."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine

import psutil

from flotilla_cli.developer_key import ensure_developer_key
from flotilla_cli.failure import CommandError
from flotilla_cli.home import Home
from flotilla_cli.platform.layout import Platform, lay_out
from flotilla_cli.platform.plan import Plan
from flotilla_cli.platform.port_holders import require_free
from flotilla_cli.platform.preparation import make_keys, migrate_schemas, prepare_database, require_valid_agents
from flotilla_cli.platform.table import services, stores
from flotilla_cli.supervisor.leftovers import stop_marked
from flotilla_cli.supervisor.log_files import tail
from flotilla_cli.supervisor.state import PlatformStatus, write_status
from flotilla_cli.supervisor.supervisor import Supervisor
from flotilla_cli.supervisor.watch import ProcessFailedError

Report = Callable[[PlatformStatus], None]
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One Ctrl-C may arrive twice, from the terminal and from a program around us; a later one means it.
_IMPATIENT_AFTER_S = 1.0


class Runner:
    """One run of a platform; reports each change of its status."""

    def __init__(self, platform: Platform, report: Report) -> None:
        self._platform = platform
        self._home = platform.plan.home
        self._report = report
        self._supervisor = Supervisor(self._home.logs, self._changed)
        self._status = PlatformStatus(
            supervisor_pid=os.getpid(),
            supervisor_started_at=psutil.Process().create_time(),
            url=platform.url,
            development_model=platform.plan.provider is None,
        )
        self._stop_asked = asyncio.Event()
        self._stop_asked_at = 0.0

    async def run(self) -> None:
        """Starts everything, runs until a signal, stops everything. Raises CommandError if something fails to start."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._ask_to_stop)
        try:
            if await self._start_unless_stopped():
                await self._stop_asked.wait()
        finally:
            await self._stop()

    async def _start_unless_stopped(self) -> bool:
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return False
            starting.result()
            return True
        except ProcessFailedError as failure:
            raise self._explain(failure) from None
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    async def _start(self) -> None:
        # Finding what is wrong with the agents takes as long as the stores take to start.
        await _all(require_valid_agents(self._platform.plan.agents), self._start_stores())
        # The services wait for their schemas by themselves, and loading their code takes longer than the migrations.
        await _all(migrate_schemas(self._platform), self._supervisor.start(*services(self._platform)))
        await asyncio.to_thread(ensure_developer_key, self._home, self._platform.url)
        self._status.is_ready = True
        self._changed()

    async def _start_stores(self) -> None:
        await asyncio.to_thread(self._platform.postgres.initialise)
        self._platform.valkey.configure()
        await self._supervisor.start(stores(self._platform))
        await prepare_database(self._platform)

    async def _stop(self) -> None:
        self._status.is_ready = False
        await self._supervisor.stop()
        # Whatever a process of ours started and set free.
        await asyncio.to_thread(stop_marked, str(self._home.path))

    def _ask_to_stop(self) -> None:
        now = time.monotonic()
        if not self._stop_asked.is_set():
            self._stop_asked_at = now
            self._stop_asked.set()
        elif now - self._stop_asked_at > _IMPATIENT_AFTER_S:
            self._supervisor.kill()

    def _changed(self) -> None:
        self._status.processes = self._supervisor.statuses
        write_status(self._home.state_file, self._status)
        self._report(self._status)

    def _explain(self, failure: ProcessFailedError) -> CommandError:
        file = self._supervisor.log_file(failure.spec)
        lines = "\n".join(f"  {line}" for line in tail(file, 15))
        self._status.error = f"{failure}\n{lines}"
        return CommandError(self._status.error, hint=f"the whole log: {file}")


def run_platform(plan: Plan, report: Report) -> None:
    """Runs the plan until a signal; nothing of it is left afterwards. Raises CommandError."""
    plan.home.prepare()
    with plan.home.locked():
        _clean_up_after_predecessor(plan.home)
        for replica in range(plan.count("gateway")):
            require_free(plan.port + replica)
        make_keys(plan.home)
        book = plan.home.ports()
        platform = lay_out(plan, book)
        platform.postgres.stop_leftover()
        book.save()
        asyncio.run(_run(platform, report))


async def _run(platform: Platform, report: Report) -> None:
    await Runner(platform, report).run()


async def _all(*work: Coroutine[None, None, None]) -> None:
    """Waits for all of it; the first failure ends the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _clean_up_after_predecessor(home: Home) -> None:
    stop_marked(str(home.path))
    home.state_file.unlink(missing_ok=True)
