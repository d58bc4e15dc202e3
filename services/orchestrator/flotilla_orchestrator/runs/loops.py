"""The process's background loops: each goes on until the process stops, whatever happens to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from flotilla_common.lifecycle import stop_tasks

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


async def keep_running(name: str, loop: Loop) -> None:
    """Begins a loop again that failed."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001 - a loop that ends would silently end what the process promises
            _log.exception("a background loop begins again", extra={"loop": name})
        await asyncio.sleep(_PAUSE_S)
