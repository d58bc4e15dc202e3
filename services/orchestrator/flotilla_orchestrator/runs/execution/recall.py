"""What long-term memory adds to a run; without memory the run goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from flotilla_common.errors import FlotillaError
from flotilla_common.identity import Identity
from flotilla_common.request import acting_as

from flotilla_orchestrator.clients.memory import MemoryClient, Recollection
from flotilla_orchestrator.graphs.catalogue import Release
from flotilla_orchestrator.model import MessageDict, NewRun, OwnedRun
from flotilla_orchestrator.runs.execution.work import RunWork
from flotilla_orchestrator.runs.metrics import RunMetrics

_log = logging.getLogger(__name__)

Recalled = asyncio.Task[str]
"""What is remembered, as lines of text; empty when there is nothing or no memory."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Asks memory what a run may use."""

    memory: MemoryClient
    metrics: RunMetrics
    timeout_s: float = 1.0

    def ask(self, run: NewRun | OwnedRun, work: RunWork, release: Release) -> Recalled | None:
        """Asks for what is remembered about the last question; None where there is no question, or no memory for it.

        It changes nothing, so a run may ask while it is still being accepted. Never cancelled: whoever waits for the
        acceptance may go away, the run does not.
        """
        if not (release.recalls and run.remembers and (question := _last_question(work.messages))):
            return None
        return asyncio.create_task(self._ask(run, question, thread_id=None if work.is_stateless else run.thread_id))

    async def _ask(self, run: NewRun | OwnedRun, question: str, *, thread_id: UUID | None) -> str:
        # Not for the run but for the person: the same token serves their next question, too.
        with acting_as(person_of(run), request_id=str(run.run_id)):
            try:
                found = await self.memory.load_context(question, thread_id=thread_id, timeout_s=self.timeout_s)
            except FlotillaError as error:
                self.metrics.degradations["memory"].inc()
                about = {"run_id": str(run.run_id), "reason": error.reason, "error": error.message}
                _log.warning("memory is left out", extra=about)
                return ""
            return as_text(found)


def identity_of(run: NewRun | OwnedRun) -> Identity:
    """Returns whom a run acts for, and that it is this run."""
    return replace(person_of(run), run_id=run.run_id)


def person_of(run: NewRun | OwnedRun) -> Identity:
    """Returns whom a run acts for."""
    return Identity(run.tenant_id, run.user_id, remembers=run.remembers)


def as_text(found: Recollection) -> str:
    """Returns blocks and memories as a prompt shows them."""
    lines = [f"{label}: {text}" for label, text in found.blocks]
    lines += [f"- {text}" for text in found.memories]
    return "\n".join(lines)


def _last_question(messages: Sequence[MessageDict]) -> str:
    return next((message["content"] for message in reversed(messages) if message["type"] == "human"), "")
