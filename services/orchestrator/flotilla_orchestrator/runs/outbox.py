"""Sends what finished runs left for memory and the evaluator: at least once, while a peer is away for up to a day."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from flotilla_common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    FlotillaError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from flotilla_common.identity import Identity
from flotilla_common.request import acting_as
from flotilla_common.rpc.policy import LARGEST_MESSAGE

from flotilla_orchestrator.clients.delivery import Delivery
from flotilla_orchestrator.model import OutboxKind
from flotilla_orchestrator.runs.execution.trace import in_trace_of, is_recorded
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.stores.run_store import DueOutboxEntry, RunStore

Send = Callable[[Sequence[Delivery]], Awaitable[Sequence[FlotillaError | None]]]
"""Sends what goes together; returns what each failed with, or None, and raises what the call itself failed with."""

_log = logging.getLogger(__name__)

_BATCH = 100
_CONCURRENT = 16
_TOGETHER, _TOGETHER_BYTES = 50, 1_000_000
"""What one call carries at most; a peer takes twice as many and four times as much. A larger entry goes alone."""
_LARGEST = LARGEST_MESSAGE - 16_384
"""Bytes of an entry that a message has room for, beside whom it is for."""
_ALONE_AFTER = 4
"""Attempts after which an entry goes alone, so that one that breaks its peer does not for ever fail its neighbours."""
_SOON_S, _APART_S = 0.02, 0.3
"""After a quiet time a run's entries are sent soon after its end; when runs end all the time, those that end while the
relay pauses share the statements that take and settle their entries, and the calls."""
_LOCK_S = 30.0
_HOPELESS = (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
"""What a peer says of one entry that it will not take tomorrow either, so that sending it again would only hide it."""
_HOPELESS_CALLS = (FailedPreconditionError, InvalidArgumentError)
"""The same of a call; what else a call fails with may be the fault of its sender, and so no entry's."""
_PATIENT_AFTER = 60
_RETRY_S, _PATIENT_RETRY_S = 1.5, 15.0
"""A peer that was away for a while has its entries within 2 s; one that is away for long is asked less often."""
_MOST_ATTEMPTS = 5_800
"""A day of them; what waits longer is given up."""
_NOBODY = Identity(tenant_id=UUID(int=0), user_id=UUID(int=0), remembers=False)
"""Whom a call as a whole is for: each delivery in it names its own person, and nothing can be stored for this one."""


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
        self._woken_at = -math.inf

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
        batches = list(_batches(entries))
        outcomes = await asyncio.gather(*(self._deliver(batch) for batch in batches))
        delays = {entry: delay_s for batch, found in zip(batches, outcomes, strict=True) for entry, delay_s in found}
        sent = [entry for entry, delay_s in delays.items() if delay_s is None]
        retry = {entry: delay_s for entry, delay_s in delays.items() if delay_s is not None}
        await self._store.settle_outbox(sent, retry_in_s=retry)
        return len(entries) == _BATCH

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._interval_s):
                await self._due.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(_SOON_S, self._woken_at + _APART_S - time.monotonic()))
        self._woken_at = time.monotonic()

    async def _deliver(self, batch: Sequence[DueOutboxEntry]) -> list[tuple[int, float | None]]:
        """Sends a batch in one call; returns for each entry the seconds until it is tried again, None when settled."""
        if len(batch[0].payload) > _LARGEST:
            too_large = ResourceExhaustedError("The entry is larger than a message.", reason="entry_too_large")
            return [(batch[0].id, self._drop(batch[0], too_large))]
        deliveries = [Delivery(_identity_of(entry), entry.payload) for entry in batch]
        traceparent = batch[0].traceparent if len(batch) == 1 else None
        try:
            async with self._places:
                with acting_as(_NOBODY), in_trace_of(traceparent):
                    errors = await self._senders[batch[0].kind](deliveries)
        except FlotillaError as error:
            if len(batch) == 1 and isinstance(error, _HOPELESS_CALLS):
                return [(batch[0].id, self._drop(batch[0], error))]
            # A call of several says nothing about each of them: they are sent again, at last alone.
            return [(entry.id, self._put_off(entry, error)) for entry in batch]
        return [(entry.id, self._settle(entry, error)) for entry, error in zip(batch, errors, strict=True)]

    def _settle(self, entry: DueOutboxEntry, error: FlotillaError | None) -> float | None:
        if error is None:
            self._metrics.outbox_sent[entry.kind].inc()
            self._metrics.outbox_attempts.observe(entry.attempts)
            return None
        return self._drop(entry, error) if isinstance(error, _HOPELESS) else self._put_off(entry, error)

    def _drop(self, entry: DueOutboxEntry, error: FlotillaError) -> float | None:
        """Gives an entry up, which settles it."""
        kind = entry.kind.name.lower()
        self._metrics.outbox_dropped[entry.kind].inc()
        _log.error(
            "an entry is given up",
            extra={
                "kind": kind,
                "run_id": str(entry.run_id),
                "attempts": entry.attempts,
                "reason": error.reason,
                "error": error.message,
            },
        )
        return None

    def _put_off(self, entry: DueOutboxEntry, error: FlotillaError) -> float | None:
        if entry.attempts >= _MOST_ATTEMPTS:
            return self._drop(entry, error)
        kind = entry.kind.name.lower()
        self._metrics.outbox_retried[entry.kind].inc()
        log = _log.warning if entry.attempts in (1, 10, 100) else _log.debug
        log("an entry could not be sent", extra={"kind": kind, "run_id": str(entry.run_id), "reason": error.reason})
        return retry_delay_s(entry.attempts)


def retry_delay_s(attempts: int) -> float:
    """Returns how long to wait after an attempt: rising from 0.1 s, with jitter, so that many do not come at once."""
    longest_s = _RETRY_S if attempts < _PATIENT_AFTER else _PATIENT_RETRY_S
    return min(longest_s, 0.1 * 2.0 ** min(attempts, 16)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter is no secret


def _batches(entries: Iterable[DueOutboxEntry]) -> Iterator[list[DueOutboxEntry]]:
    """Yields what goes in one call: entries of one kind, within what a call carries.

    A run whose trace is recorded is sent alone, so that its trace shows where it went.
    """
    together: dict[OutboxKind, list[DueOutboxEntry]] = {}
    for entry in entries:
        if entry.attempts > _ALONE_AFTER or is_recorded(entry.traceparent):
            yield [entry]
            continue
        batch = together.setdefault(entry.kind, [])
        if batch and not _has_room(batch, entry):
            yield together.pop(entry.kind)
            batch = together.setdefault(entry.kind, [])
        batch.append(entry)
    yield from together.values()


def _has_room(batch: Sequence[DueOutboxEntry], entry: DueOutboxEntry) -> bool:
    held = sum(len(held.payload) for held in batch)
    return len(batch) < _TOGETHER and held + len(entry.payload) <= _TOGETHER_BYTES


def _identity_of(entry: DueOutboxEntry) -> Identity:
    return Identity(entry.tenant_id, entry.user_id, run_id=entry.run_id)
