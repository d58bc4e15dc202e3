"""The process's background loops: each goes on until the process stops, whatever happens to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

Loop = Callable[[], Awaitable[None]]

_log = logging.getLogger(__name__)

_PAUSE_S = 0.5


@asynccontextmanager
async def background(loops: Mapping[str, Loop]) -> AsyncIterator[None]:
    """Runs loops by name beside what is inside, and stops them after it."""
    tasks = [asyncio.create_task(keep_running(name, loop), name=name) for name, loop in loops.items()]
    try:
        yield
    finally:
        await stop_tasks(tasks)


async def stop_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels tasks until all have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        # Again and again: until Python 3.12 `asyncio.wait_for`, which psycopg waits with, may swallow a cancellation.
        _, pending = await asyncio.wait(pending, timeout=_PAUSE_S)


async def keep_running(name: str, loop: Loop) -> None:
    """Begins a loop again that failed."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001 - a loop that ends would silently end what the process promises
            _log.exception("a background loop begins again", extra={"loop": name})
        await asyncio.sleep(_PAUSE_S)
