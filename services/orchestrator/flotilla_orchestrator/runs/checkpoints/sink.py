"""Where the saver of a run hands what is to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flotilla_orchestrator.model import CheckpointRow, PendingWrites


class CheckpointSink(Protocol):
    """Stores a run's checkpoints with the run's other rows, fenced by its epoch."""

    async def put_checkpoint(self, row: CheckpointRow, *, nodes: Sequence[str], is_final: bool) -> None:
        """Returns when the checkpoint after a step of these nodes is stored; the next step finds it whatever happens.

        A final one is kept back instead and written together with the run's end. Several calls may be open at once;
        rows are stored in the order of the calls.
        """
        ...

    async def put_writes(self, writes: PendingWrites) -> None:
        """Takes a task's writes; they are stored with the next flush, at the latest with the run's end."""
        ...
