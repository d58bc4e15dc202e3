"""Where a run's checkpoints go: those in mid-run are committed at once, the last one is written with the run's end."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from flotilla_orchestrator.model import CheckpointRow, PendingWrites
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import RunJournal
from flotilla_orchestrator.runs.event_log.past import LoggedPast


class CheckpointJournal:
    """Puts what a run's saver hands over into the run's journal (implements CheckpointSink)."""

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
        if is_final:
            self._final = [row]
            return
        self._journal.add_checkpoint(row)
        self._announce(row, nodes)
        await self._journal.commit()

    async def put_writes(self, writes: PendingWrites) -> None:
        """Keeps a finished task's writes with the next flush."""
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
