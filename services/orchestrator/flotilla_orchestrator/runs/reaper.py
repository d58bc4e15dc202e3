"""Claims runs whose lease has ended, wherever their owner is, and goes on with them here."""

from __future__ import annotations

import asyncio
import logging
import time
from uuid import UUID

from flotilla_common.errors import FlotillaError

from flotilla_orchestrator.runs.engine import RunEngine
from flotilla_orchestrator.stores.run_store import RunStore

_log = logging.getLogger(__name__)

_MOST_AT_ONCE = 50
"""So that one process does not take what several could share."""


async def reap(
    engine: RunEngine, store: RunStore, *, owner: UUID, interval_s: float, call_timeout_s: float = 5.0
) -> None:
    """Looks for runs to take over, up to what this process has room for, until it is cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        room = min(engine.free, _MOST_AT_ONCE)
        if not room:
            continue
        since = time.monotonic()
        try:
            async with asyncio.timeout(call_timeout_s):
                claimed = await store.claim(owner=owner, limit=room)
        except (FlotillaError, TimeoutError) as error:
            _log.warning("runs cannot be claimed", extra={"error": str(error)})
            continue
        results = await asyncio.gather(*(engine.resume(run, since=since) for run in claimed), return_exceptions=True)
        for run, result in zip(claimed, results, strict=True):
            if isinstance(result, Exception):
                _log.error("a claimed run cannot be begun", extra={"run_id": str(run.run_id)}, exc_info=result)
