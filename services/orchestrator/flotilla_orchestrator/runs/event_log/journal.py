"""One run's part of the event log: numbers its events, coalesces its tokens, and holds what the next flush writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from flotilla_common.errors import AbortedError, FlotillaError

from flotilla_orchestrator.model import CheckpointRow, PendingWrites, StoredEvent
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.stores.run_store import RunAppend

_MOST_CHARACTERS = 250_000
"""Of one event of tokens: what a reply says while nothing can be stored becomes several."""


class LeaseLostError(AbortedError):
    """The run belongs to somebody else by now; nothing of it may be written or begun here."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose tokens they are."""

    message_id: str
    node: str
    namespace: str
    is_answer: bool


@dataclass(slots=True)
class _Pending:
    """What waits for the next flush."""

    events: list[StoredEvent] = field(default_factory=list)
    checkpoints: list[CheckpointRow] = field(default_factory=list)
    writes: list[PendingWrites] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Flush:
    """What one flush took from a journal: sent again as it is until it is stored, given back, or the run is lost."""

    append: RunAppend
    waiters: list[asyncio.Future[None]]


class RunJournal:
    """Collects a run's events, checkpoints and writes between two flushes of the group writer."""

    def __init__(self, run_id: UUID, epoch: int, *, last_sequence: int) -> None:
        self.run_id = run_id
        self.epoch = epoch
        self._sequence = last_sequence
        self._pending = _Pending()
        self._tokens: dict[str, tuple[Speaker, list[str]]] = {}
        self._has_spoken = False
        self._lost: LeaseLostError | None = None
        self._refusal: FlotillaError | None = None
        self._wake: Callable[[], None] = _ignore
        self._tick: Callable[[], None] = _ignore
        self._on_lost: Callable[[], None] = _ignore

    def attach(
        self, *, wake: Callable[[], None], tick: Callable[[], None], on_lost: Callable[[], None] | None = None
    ) -> None:
        """Says whom to tell: `wake` flushes at once, `tick` at the clock's next beat, `on_lost` stops the execution."""
        self._wake, self._tick = wake, tick
        self._on_lost = on_lost or _ignore

    @property
    def is_lost(self) -> bool:
        """Whether the run was found to belong to somebody else."""
        return self._lost is not None

    def token(self, speaker: Speaker, text: str) -> None:
        """Adds text to a reply; it is stored with the clock's next flush, the run's first one at once."""
        self._tokens.setdefault(speaker.message_id, (speaker, []))[1].append(text)
        if self._has_spoken:
            self._tick()
        else:
            self._has_spoken = True
            self._wake()

    def emit(self, payload: bytes) -> None:
        """Adds an event that is stored and sent at once."""
        self.add(payload)
        self._wake()

    def add(self, payload: bytes) -> None:
        """Adds an event that goes with whatever flush comes next. Raises ResourceExhaustedError above the most."""
        self._seal_tokens()
        self._number(events.fitting(payload))

    def add_checkpoint(self, row: CheckpointRow) -> None:
        """Adds a checkpoint to the next flush."""
        self._pending.checkpoints.append(row)

    def add_writes(self, writes: PendingWrites) -> None:
        """Adds a finished task's writes to the clock's next flush."""
        self._pending.writes.append(writes)
        self._tick()

    async def commit(self) -> None:
        """Returns when everything added so far is stored. Raises LeaseLostError, and what `give_back` was given."""
        if error := self._lost or self._refusal:
            raise error
        waiter = asyncio.get_running_loop().create_future()
        self._pending.waiters.append(waiter)
        self._wake()
        await waiter

    def take(self) -> Flush:
        """Returns everything that waits, numbered; whoever takes it must see to it that it is stored."""
        self._seal_tokens()
        taken, self._pending = self._pending, _Pending()
        append = RunAppend(
            run_id=self.run_id,
            epoch=self.epoch,
            events=taken.events,
            checkpoints=taken.checkpoints,
            writes=taken.writes,
        )
        return Flush(append, taken.waiters)

    def last(self, payload: bytes) -> StoredEvent:
        """Returns the terminal event under the run's last number."""
        self._sequence += 1
        return StoredEvent(self.run_id, self._sequence, payload)

    def lose(self) -> None:
        """Notes that the run belongs to somebody else: nothing more is written, and its execution is stopped."""
        if self._lost is not None:
            return
        self._lost = LeaseLostError("The run is continued elsewhere.", reason="lease_lost")
        _fail(self._pending.waiters, self._lost)
        self._pending = _Pending()
        self._tokens.clear()
        self._on_lost()

    def give_back(self, flush: Flush, error: FlotillaError) -> None:
        """Takes back the events of a flush that cannot be stored, and has the run end without the rest of it."""
        self._refusal = error
        self._pending.events[:0] = flush.append.events
        _fail(flush.waiters, error)
        self._wake()

    def settle(self, flush: Flush) -> None:
        """Tells those who wait that their flush is stored, or that the run is lost."""
        if self._lost is not None:
            _fail(flush.waiters, self._lost)
            return
        for waiter in flush.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _seal_tokens(self) -> None:
        """Turns the buffered tokens into one event a reply, because what comes now comes after them."""
        if not self._tokens:
            return
        for speaker, texts in self._tokens.values():
            text = "".join(texts)
            for start in range(0, len(text), _MOST_CHARACTERS):
                self._number(
                    events.token(
                        message_id=speaker.message_id,
                        node=speaker.node,
                        namespace=speaker.namespace,
                        text=text[start : start + _MOST_CHARACTERS],
                        is_answer=speaker.is_answer,
                    )
                )
        self._tokens.clear()

    def _number(self, payload: bytes) -> None:
        self._sequence += 1
        self._pending.events.append(StoredEvent(self.run_id, self._sequence, payload))


def _fail(waiters: list[asyncio.Future[None]], error: FlotillaError) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)


def _ignore() -> None:
    """Nobody needs to know."""
