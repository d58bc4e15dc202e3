"""Batches of many runs' rows: one run's bad row must not cost the others theirs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

import psycopg

# What the rows themselves are at fault for, or, with a deadlock, their company.
REFUSALS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.DeadlockDetected,
)

_log = logging.getLogger(__name__)


class OfRun(Protocol):
    """Rows of one run."""

    @property
    def run_id(self) -> UUID:
        """The run."""
        ...


EntryT = TypeVar("EntryT", bound=OfRun)


async def write_batch(batch: Sequence[EntryT], write: Callable[[Sequence[EntryT]], Awaitable[set[UUID]]]) -> set[UUID]:
    """Writes a batch, and where the database refuses it, run by run; returns the written runs, without the bad ones."""
    if not batch:
        return set()
    try:
        return await write(batch)
    except REFUSALS:
        if len(batch) == 1:
            _log.exception("rows refused", extra={"run_id": str(batch[0].run_id)})
            return set()
        _log.warning("batch refused, writing run by run", extra={"runs": len(batch)})
    written: set[UUID] = set()
    for entry in batch:
        written |= await write_batch([entry], write)
    return written
