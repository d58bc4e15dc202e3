"""How a process lets go of its work: stop taking, let finish, then stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

SETTLE_S = 0.25
"""How long clients get to notice NOT_SERVING before an idle process counts as drained; they need about 5 ms."""
_STOP_S = 0.5
_log = logging.getLogger(__name__)


class Work:
    """Counts what is being served."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """Counts one in."""
        self.in_flight += 1
        if self.in_flight == 1:
            self._idle.clear()

    def end(self) -> None:
        """Counts one out."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def until_idle(self) -> None:
        """Waits until nothing is being served."""
        await self._idle.wait()


class Lifecycle:
    """Drains the process once, however often and from wherever it is told to."""

    def __init__(
        self,
        *,
        work: Work,
        drain_max_s: float,
        stop_taking: Callable[[], Awaitable[None]],
        drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Takes what makes the process refuse new work, and what the service itself has to hand back."""
        self.work = work
        self._drain_max_s = drain_max_s
        self._stop_taking = stop_taking
        self._drain = drain
        self._draining: asyncio.Task[bool] | None = None

    @property
    def is_draining(self) -> bool:
        """True from the first call of `drain` on."""
        return self._draining is not None

    async def drain(self) -> bool:
        """Lets the work finish; returns False if it did not within drain_max_s. A waiter that goes stops nothing."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._let_go(), name="drain")
        return await asyncio.shield(self._draining)

    def abandon(self) -> None:
        """Gives up waiting."""
        if self._draining is not None:
            self._draining.cancel()

    async def _let_go(self) -> bool:
        _log.info("draining", extra={"in_flight": self.work.in_flight, "drain_max_s": self._drain_max_s})
        is_done = False
        try:
            async with asyncio.timeout(self._drain_max_s):
                await self._stop_taking()
                await asyncio.sleep(SETTLE_S)
                if self._drain is not None:
                    await self._drain()
                await self.work.until_idle()
                is_done = True
        except TimeoutError:
            _log.warning("work is left after the longest wait", extra={"in_flight": self.work.in_flight})
        _log.info("drained", extra={"in_flight": self.work.in_flight})
        return is_done


@asynccontextmanager
async def termination(lifecycle: Lifecycle) -> AsyncIterator[asyncio.Event]:
    """Drains on SIGTERM or SIGINT and then sets the event; a second signal sets it at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def drain_then_stop() -> None:
        try:
            await lifecycle.drain()
        finally:
            stop.set()

    def on_signal() -> None:
        if tasks:
            _log.warning("told twice, stopping at once")
            lifecycle.abandon()
            stop.set()
        else:
            tasks.add(asyncio.create_task(drain_then_stop()))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        await asyncio.gather(*tasks, return_exceptions=True)


async def stop_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels tasks until all have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        # Again and again: until Python 3.12 `asyncio.wait_for`, which psycopg waits with, may swallow a cancellation.
        _, pending = await asyncio.wait(pending, timeout=_STOP_S)
