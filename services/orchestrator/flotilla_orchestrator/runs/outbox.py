"""Sends what finished runs left for memory and the evaluator: at least once, however long a peer is away."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping

from flotilla_common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    FlotillaError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from flotilla_common.identity import Identity
from flotilla_common.request import acting_as

from flotilla_orchestrator.model import OutboxKind
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.runs.trace import in_trace_of
from flotilla_orchestrator.stores.run_store import DueOutboxEntry, RunStore

Send = Callable[[bytes], Awaitable[None]]

_log = logging.getLogger(__name__)

_BATCH = 100
_CONCURRENT = 16
_GATHER_S = 0.1
"""Runs that end within this time share the statements that take and settle their entries."""
_LOCK_S = 30.0
_HOPELESS = (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
"""The same again fails again, so that sending it again would only hide it."""
_PATIENT_AFTER = 60
_RETRY_S, _PATIENT_RETRY_S = 1.5, 15.0
"""A peer that was away for a while has its entries within 2 s; one that is away for long is asked less often."""


class OutboxRelay:
    """Takes due entries in batches and settles them."""

    def __init__(
        self, store: RunStore, senders: Mapping[OutboxKind, Send], *, metrics: RunMetrics, interval_s: float = 0.5
    ) -> None:
        self._store = store
        self._senders = senders
        self._metrics = metrics
        self._interval_s = interval_s
        self._places = asyncio.Semaphore(_CONCURRENT)
        self._due = asyncio.Event()

    def wake(self) -> None:
        """Says that a run ended here, so that there may be something to send at once."""
        self._due.set()

    async def run(self) -> None:
        """Sends until it is cancelled."""
        while True:
            if not await self._relay_safely():
                await self._wait()

    async def _relay_safely(self) -> bool:
        """Sends one batch; returns whether there may be more."""
        try:
            return await self.relay_once()
        except FlotillaError as error:
            _log.warning("the outbox cannot be read", extra={"reason": error.reason, "error": error.message})
            return False

    async def relay_once(self) -> bool:
        """Sends what is due; returns whether the batch was full."""
        self._due.clear()
        entries = await self._store.due_outbox(limit=_BATCH, lock_s=_LOCK_S)
        if not entries:
            return False
        delays = await asyncio.gather(*(self._deliver(entry) for entry in entries))
        sent = [entry.id for entry, delay_s in zip(entries, delays, strict=True) if delay_s is None]
        retry = {entry.id: delay_s for entry, delay_s in zip(entries, delays, strict=True) if delay_s is not None}
        await self._store.settle_outbox(sent, retry_in_s=retry)
        return len(entries) == _BATCH

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._interval_s):
                await self._due.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_GATHER_S)

    async def _deliver(self, entry: DueOutboxEntry) -> float | None:
        """Sends one entry; returns the seconds until it is tried again, or None when it is settled."""
        kind = entry.kind.name.lower()
        identity = Identity(entry.tenant_id, entry.user_id, run_id=entry.run_id)
        try:
            async with self._places:
                with acting_as(identity, request_id=str(entry.run_id)), in_trace_of(entry.traceparent):
                    await self._senders[entry.kind](entry.payload)
        except _HOPELESS as error:
            self._metrics.outbox_dropped.labels(kind).inc()
            _log.error(
                "a peer refuses an entry for good",
                extra={"kind": kind, "run_id": str(entry.run_id), "reason": error.reason, "error": error.message},
            )
            return None
        except FlotillaError as error:
            self._metrics.outbox_retried.labels(kind).inc()
            log = _log.warning if entry.attempts in (1, 10, 100) else _log.debug
            log("an entry could not be sent", extra={"kind": kind, "run_id": str(entry.run_id), "reason": error.reason})
            return retry_delay_s(entry.attempts)
        self._metrics.outbox_sent.labels(kind).inc()
        self._metrics.outbox_attempts.observe(entry.attempts)
        return None


def retry_delay_s(attempts: int) -> float:
    """Returns how long to wait after an attempt: rising from 0.1 s, with jitter, so that many do not come at once."""
    longest_s = _RETRY_S if attempts < _PATIENT_AFTER else _PATIENT_RETRY_S
    return min(longest_s, 0.1 * 2.0 ** min(attempts, 16)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter is no secret
