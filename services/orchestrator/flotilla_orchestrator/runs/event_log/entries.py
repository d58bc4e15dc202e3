"""What waits for the writer: one run's rows, and what becomes of those who wait for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

from flotilla_common.errors import ResourceExhaustedError

from flotilla_orchestrator.model import ErrorClass, FinishedRun, RunError, RunStatus, StoredEvent
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import Flush, RunJournal
from flotilla_orchestrator.runs.event_log.store_calls import StoreCalls

Deliver = Callable[[UUID, Sequence[StoredEvent]], None]

_log = logging.getLogger(__name__)

_TOO_MUCH = "What the run made takes too long to be stored."
_STORE_TIMEOUT = RunError(ErrorClass.BUDGET, "store_timeout", _TOO_MUCH)


class Entry(Protocol):
    """One run's rows."""

    @property
    def journal(self) -> RunJournal:
        """Whose rows they are."""
        ...

    def is_over(self) -> bool:
        """Whether nobody needs the rows any more, because the run is somebody else's; then nobody waits either."""
        ...

    async def store_alone(self, calls: StoreCalls) -> bool:
        """Stores the rows in a call of their own; returns whether the run was still ours."""
        ...

    def settle(self, *, is_ours: bool, deliver: Deliver) -> None:
        """Tells those who wait, and the run's watchers, that the rows are stored; or gives the run up."""
        ...

    def lighten(self) -> bool:
        """Leaves out what takes too long, so that the run ends; returns whether there is something left to store."""
        ...

    def refuse(self, error: Exception) -> None:
        """Gives up rows that the database refuses."""
        ...


@dataclass(frozen=True, slots=True)
class Append:
    """What a run made since the last flush."""

    journal: RunJournal
    flush: Flush

    @property
    def has_rows(self) -> bool:
        """Whether there is anything to store."""
        append = self.flush.append
        return bool(append.events or append.checkpoints or append.writes)

    def is_over(self) -> bool:
        """Whether the run is somebody else's."""
        if self.journal.is_lost:
            self.journal.settle(self.flush)
        return self.journal.is_lost

    async def store_alone(self, calls: StoreCalls) -> bool:
        """Stores the rows in a call of their own."""
        return not self.has_rows or bool(await calls.append([self.flush.append], alone=True))

    def settle(self, *, is_ours: bool, deliver: Deliver) -> None:
        """Delivers stored events, or gives the run up."""
        if not is_ours:
            self.journal.lose()
        elif self.flush.append.events and not self.journal.is_lost:
            deliver(self.journal.run_id, self.flush.append.events)
        self.journal.settle(self.flush)

    def lighten(self) -> bool:
        """Has the run end without its checkpoints; one that has none to leave out is lost, and so begun again."""
        if self.flush.append.checkpoints or self.flush.append.writes:
            self.journal.give_back(self.flush, ResourceExhaustedError(_TOO_MUCH, reason="store_timeout"))
        else:
            self.journal.lose()
            self.journal.settle(self.flush)
        return False

    def refuse(self, error: Exception) -> None:
        """Loses the run, so that it is begun again."""
        _log.error("a run's events cannot be stored", extra={"run_id": str(self.journal.run_id)}, exc_info=error)
        self.journal.lose()
        self.journal.settle(self.flush)


@dataclass(slots=True)
class Finish:
    """A run's end."""

    journal: RunJournal
    end: FinishedRun
    """Its terminal event has no number before `fill`."""
    done: asyncio.Future[FinishedRun | None]
    """What the run ended with; None when it was not ours any more."""
    flush: Flush | None = None
    is_light: bool = False

    def fill(self) -> None:
        """Adds what the journal still holds, and the number of the terminal event after it."""
        self.flush = flush = self.journal.take()
        self.end = replace(
            self.end,
            events=flush.append.events,
            checkpoints=[*flush.append.checkpoints, *self.end.checkpoints],
            writes=flush.append.writes,
            terminal_event=self.journal.last(self.end.terminal_event.payload),
        )

    def is_over(self) -> bool:
        """Whether the run's next owner ends it, because its lease ended while its finish waited."""
        if self.journal.is_lost:
            self._answer(None)
        return self.done.done()

    async def store_alone(self, calls: StoreCalls) -> bool:
        """Ends the run in a call of its own."""
        return bool(await calls.finish([self.end], alone=True))

    def settle(self, *, is_ours: bool, deliver: Deliver) -> None:
        """Delivers the last events, or gives the run up."""
        if is_ours:
            deliver(self.end.run_id, [*self.end.events, self.end.terminal_event])
        else:
            self.journal.lose()
        if self.flush is not None:
            self.journal.settle(self.flush)
        self._answer(self.end if is_ours else None)

    def lighten(self) -> bool:
        """Has the run end as failed, with nothing but its events; one whose events are too much is lost."""
        if self.is_light:
            self.settle(is_ours=False, deliver=_to_nobody)
            return False
        self.is_light = True
        self.end = replace(self.end, checkpoints=(), writes=(), outbox=())
        if self.end.error is None:
            self._fail()
        return True

    def refuse(self, error: Exception) -> None:
        """Leaves the run to be begun again when its lease ends."""
        if not self.done.done():
            self.done.set_exception(error)

    def _fail(self) -> None:
        end = self.end
        payload = events.failed(status=RunStatus.FAILED, error=_STORE_TIMEOUT, usage=end.usage)
        self.end = replace(
            end,
            status=RunStatus.FAILED,
            error=_STORE_TIMEOUT,
            finish_reason=None,
            answer=None,
            terminal_event=replace(end.terminal_event, payload=payload),
        )

    def _answer(self, end: FinishedRun | None) -> None:
        if not self.done.done():
            self.done.set_result(end)


def _to_nobody(*_: object) -> None:
    """Nothing was stored."""
