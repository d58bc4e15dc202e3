"""A run's event log from its first event to its last, re-attached behind the client's back.

A stream of the orchestrator may end at any moment: its pod is killed, the connection reaches its age, a deadline
passes. The run does not end with it. The follower opens the next stream after the last sequence number it has, at any
orchestrator.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from flotilla.orchestrator.v1.event_pb2 import RunAccepted, RunEvent
from flotilla.orchestrator.v1.orchestrator_service_pb2 import StartRunRequest
from flotilla_common.errors import (
    CancelledError,
    FailedPreconditionError,
    FlotillaError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from prometheus_client import Counter

from flotilla_gateway.clients.orchestrator import Orchestrator
from flotilla_gateway.runs.silence import Silence

logger = logging.getLogger(__name__)

_REATTACHED = Counter("flotilla_gateway_reattached_total", "Streams of running runs that were opened anew.")
_END_S = 1.0
_ENDS = frozenset({"done", "failed", "interrupted"})
_HOPELESS = (
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    InvalidArgumentError,
    FailedPreconditionError,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long broken streams are mended before the client hears of it."""

    start_s: float = 8.0
    """Before the run is accepted: the caller has nothing yet and may ask again."""
    watch_s: float = 60.0
    """After that, without one good stream in between: a take-over needs up to 10 s."""
    silence_s: float = 5.0
    """After that the stream of an accepted run is doubted and another one takes its place: an orchestrator that is
    frozen, or behind a partition, keeps its connection for up to 40 s without a word. An acceptance is not doubted
    before `start_s`: asking again would only add to the load that makes it late."""
    first_wait_s: float = 0.05
    longest_wait_s: float = 1.0


class RunFollower:
    """Follows one run: `accept` gives its first event, `events` all that come after, in order, none missing."""

    def __init__(self, orchestrator: Orchestrator, patience: Patience) -> None:
        self._orchestrator = orchestrator
        self._patience = patience
        self._last = 0
        self._ended = False
        self._is_over = False
        self._first: list[RunEvent] = []
        self._stream: AsyncGenerator[Sequence[RunEvent], None] | None = None
        self.run_id = ""
        """The run that is followed; with an idempotency key it may be an earlier one."""
        self.is_settled = False
        """Set by the wire once its reply is complete: what the client does from then on says nothing about the run."""

    async def accept(self, request: StartRunRequest) -> RunAccepted:
        """Starts a run and returns once it is committed. The same run id is sent again as long as patience lasts.

        Raises what the orchestrator says, and UnavailableError when none can be reached.
        """
        self.run_id = request.run_id
        waits = _Waits(self._patience, self._patience.start_s)
        while True:
            self._stream = self._orchestrator.start_run(request)
            silence = Silence(self._patience.start_s)
            try:
                batch = await _next(self._stream, silence)
            except (UnavailableError, CancelledError) as error:
                # Nobody here has cancelled it: its connection reached its age while the orchestrator was busy.
                if not await waits.next():
                    raise _unavailable(error) from error
                continue
            finally:
                silence.close()
            if batch:
                return self._accepted(batch)
            if not await waits.next():
                raise UnavailableError("No orchestrator accepted the run.", reason="orchestrator_away", retry_after_s=1)

    def watch(self, run_id: str, *, after_sequence: int, is_over: bool = False) -> None:
        """Follows a run that exists already, after a sequence number.

        is_over: nothing is added to its log any more, so that there may be nothing left to read.
        """
        self.run_id = run_id
        self._last = after_sequence
        self._is_over = is_over

    async def events(self) -> AsyncGenerator[Sequence[RunEvent], None]:
        """Yields batches of events until one ends the log, or until nothing is left of a run that is over.

        Raises UnavailableError when streams kept breaking for longer than patience lasts.
        """
        waits = _Waits(self._patience, self._patience.watch_s)
        if self._first:
            yield self._first
        while not self._ended:
            opened_at, had = time.monotonic(), self._last
            try:
                async with aclosing(self._batches()) as batches:
                    async for batch in batches:
                        yield batch
            except _HOPELESS:
                raise
            except FlotillaError as error:
                logger.info("Stream broke", extra={"run_id": self.run_id, "error": type(error).__name__})
            if self._ended:
                return
            _REATTACHED.inc()
            if self._last > had or time.monotonic() - opened_at > 5:
                waits = _Waits(self._patience, self._patience.watch_s)
            if not await waits.next():
                raise UnavailableError(
                    "The run goes on, but no orchestrator can be reached.", reason="orchestrator_away"
                )

    async def close(self) -> None:
        """Stops following; the run goes on."""
        if self._stream is None:
            return
        if self._ended:
            await _read_to_end(self._stream)
        await self._stream.aclose()

    async def _batches(self) -> AsyncGenerator[Sequence[RunEvent], None]:
        stream = self._stream or self._orchestrator.watch_run(self.run_id, after_sequence=self._last)
        self._stream = stream
        silence = Silence(self._patience.silence_s)
        try:
            while (batch := await silence.ended_by(anext(stream, None))) is not None:
                fresh = self._fresh(batch)
                if fresh is None:
                    # Something is missing: the next stream begins after what we have.
                    return
                if fresh:
                    yield fresh
                if self._ended:
                    await _read_to_end(stream)
                    return
            self._ended = self._is_over
        except TimeoutError:
            """Nothing came for too long: the next stream begins after what we have."""
        finally:
            silence.close()
            self._stream = None
            await stream.aclose()

    def _accepted(self, batch: Sequence[RunEvent]) -> RunAccepted:
        first = batch[0]
        if not first.HasField("accepted"):
            raise UnavailableError("The run did not begin with its acceptance.", reason="event_log_broken")
        self.run_id = first.accepted.run_id
        self._last = first.sequence
        self._first = list(self._fresh(batch[1:]) or ())
        return first.accepted

    def _fresh(self, batch: Sequence[RunEvent]) -> Sequence[RunEvent] | None:
        """Returns what is new in a batch, or None when something before it is missing."""
        if not batch:
            return batch
        if batch[0].sequence != self._last + 1:
            batch = [event for event in batch if event.sequence > self._last]
            if not batch:
                return batch
            if batch[0].sequence != self._last + 1:
                return None
        self._last = batch[-1].sequence
        self._ended = ends_the_log(batch[-1])
        return batch


class _Waits:
    """Waits that grow, with jitter, until the budget is spent."""

    def __init__(self, patience: Patience, budget_s: float) -> None:
        self._until = time.monotonic() + budget_s
        self._wait_s = 0.0
        self._patience = patience

    async def next(self) -> bool:
        """Waits and returns True, or returns False at once when the budget is spent. The first wait is none."""
        if time.monotonic() >= self._until:
            return False
        await asyncio.sleep(self._wait_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter is no secret
        self._wait_s = min(max(self._wait_s * 2, self._patience.first_wait_s), self._patience.longest_wait_s)
        return True


async def _next(stream: AsyncGenerator[Sequence[RunEvent], None], silence: Silence) -> Sequence[RunEvent] | None:
    """Returns the stream's next batch, or None when it has ended or been silent for too long."""
    try:
        return await silence.ended_by(anext(stream, None))
    except TimeoutError:
        return None


async def _read_to_end(stream: AsyncGenerator[Sequence[RunEvent], None]) -> None:
    """Lets the orchestrator end its stream; a stream that is cut instead counts as a client's failure there."""
    try:
        async with asyncio.timeout(_END_S):
            async for _ in stream:
                pass
    except (TimeoutError, FlotillaError):
        return


def ends_the_log(event: RunEvent) -> bool:
    """Whether nothing comes after this event. A run that waits for a person goes on as another run."""
    return event.WhichOneof("event") in _ENDS


def _unavailable(error: FlotillaError) -> UnavailableError:
    is_plain = not isinstance(error, UnavailableError) or error.reason is None
    reason = "orchestrator_away" if is_plain else error.reason
    return UnavailableError(error.message, reason=reason, retry_after_s=error.retry_after_s or 1.0)
