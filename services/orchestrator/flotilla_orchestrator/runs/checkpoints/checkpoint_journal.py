"""Where a run's checkpoints go: those in mid-run are committed at once, the last one is written with the run's end."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from flotilla_common.errors import ResourceExhaustedError

from flotilla_orchestrator.model import CheckpointRow, PendingWrites
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import RunJournal
from flotilla_orchestrator.runs.event_log.past import LoggedPast

MOST_STATE_BYTES = 16 * 1024 * 1024
"""Of one checkpoint, and of what one task writes: much more could not be stored within the writer's time."""


class CheckpointJournal:
    """Puts what a run's saver hands over into the run's journal (implements CheckpointSink).

    What is larger than the store takes raises ResourceExhaustedError, with which the run ends.
    """

    def __init__(self, journal: RunJournal, past: LoggedPast) -> None:
        self._journal = journal
        self._past = past
        self._final: list[CheckpointRow] = []

    @property
    def final(self) -> Sequence[CheckpointRow]:
        """The checkpoint that the graph ended with, which the run's end writes."""
        return self._final

    async def put_checkpoint(self, row: CheckpointRow, *, nodes: Sequence[str], is_final: bool) -> None:
        """Commits a checkpoint before it returns, or keeps the final one for the run's end."""
        _check_size(len(row.state))
        if is_final:
            self._final = [row]
            return
        self._journal.add_checkpoint(row)
        self._announce(row, nodes)
        await self._journal.commit()

    async def put_writes(self, writes: PendingWrites) -> None:
        """Keeps a finished task's writes with the next flush."""
        _check_size(sum(len(value) for _, _, value in writes.writes))
        self._journal.add_writes(writes)

    def _announce(self, row: CheckpointRow, nodes: Sequence[str]) -> None:
        if str(row.checkpoint_id) in self._past.states:
            return
        self._journal.emit(
            events.state_committed(
                checkpoint_id=row.checkpoint_id,
                namespace=row.namespace,
                step=orjson.loads(row.metadata).get("step", 0),
                nodes=nodes,
                next_nodes=row.next_nodes,
            )
        )


def _check_size(size: int) -> None:
    if size > MOST_STATE_BYTES:
        raise ResourceExhaustedError(
            f"The run's state is larger than {MOST_STATE_BYTES >> 20} MiB.", reason="state_too_large"
        )
