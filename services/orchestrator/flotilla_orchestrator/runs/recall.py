"""What long-term memory adds to a run; without memory the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from flotilla_common.errors import FlotillaError

from flotilla_orchestrator.clients.memory import MemoryClient, Recollection
from flotilla_orchestrator.model import MessageDict
from flotilla_orchestrator.runs.metrics import RunMetrics

_log = logging.getLogger(__name__)


async def recall(
    memory: MemoryClient,
    messages: Sequence[MessageDict],
    *,
    thread_id: UUID | None,
    timeout_s: float,
    metrics: RunMetrics,
) -> str:
    """Returns what is remembered for the last question as lines of text; empty when there is nothing or no memory."""
    question = next((message["content"] for message in reversed(messages) if message["type"] == "human"), "")
    if not question:
        return ""
    try:
        found = await memory.load_context(question, thread_id=thread_id, timeout_s=timeout_s)
    except FlotillaError as error:
        metrics.degradations.labels("memory").inc()
        _log.warning("memory is left out", extra={"reason": error.reason, "error": error.message})
        return ""
    return as_text(found)


def as_text(found: Recollection) -> str:
    """Returns blocks and memories as a prompt shows them."""
    lines = [f"{label}: {text}" for label, text in found.blocks]
    lines += [f"- {text}" for text in found.memories]
    return "\n".join(lines)
