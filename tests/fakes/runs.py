"""Runs as tests of the orchestrator's stores and engine make them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from flotilla_common.ids import new_id
from flotilla_orchestrator.model import CheckpointRow, FinishedRun, FinishReason, NewRun, RunStatus, StoredEvent
from flotilla_orchestrator.stores.run_store import RunAppend

TENANT = UUID("0190b5d5-0000-7000-8000-000000000001")
USER = UUID("0190b5d5-0000-7000-8000-000000000002")
RELEASE = "5e" * 32


def new_run(**changes: Any) -> NewRun:
    """Returns a run on a new thread of its own."""
    run_id = changes.pop("run_id", None) or new_id()
    run = NewRun(
        run_id=run_id,
        tenant_id=TENANT,
        user_id=USER,
        remembers=True,
        thread_id=uuid4(),
        create_thread=True,
        thread_ttl_s=None,
        agent="assistant",
        release=RELEASE,
        wire="openai",
        idempotency_key=None,
        body_hash=b"body",
        input=b"input",
        time_limit_s=60,
        metadata={"source": "test"},
        traceparent=None,
        accepted_event=b"accepted " + run_id.bytes,
    )
    return replace(run, **changes)


def event(run: NewRun, sequence: int, payload: bytes = b"token") -> StoredEvent:
    """Returns an event of a run."""
    return StoredEvent(run.run_id, sequence, payload)


def checkpoint(run: NewRun, **changes: Any) -> CheckpointRow:
    """Returns a checkpoint of a run."""
    row = CheckpointRow(
        thread_id=run.thread_id,
        namespace="",
        checkpoint_id=new_id(),
        parent_id=None,
        run_id=run.run_id,
        state=b"state",
        metadata=b'{"step": 1}',
    )
    return replace(row, **changes)


def append(run: NewRun, *sequences: int, epoch: int = 1, **parts: Any) -> RunAppend:
    """Returns events of a run as one flush writes them."""
    return RunAppend(run.run_id, epoch, [event(run, sequence) for sequence in sequences], **parts)


def finished(run: NewRun, sequence: int, *, epoch: int = 1, **changes: Any) -> FinishedRun:
    """Returns the end of a run whose terminal event has the sequence number."""
    end = FinishedRun(
        run_id=run.run_id,
        epoch=epoch,
        status=RunStatus.SUCCEEDED,
        terminal_event=event(run, sequence, b"done"),
        finish_reason=FinishReason.STOP,
        answer={"type": "ai", "content": "Hello."},
    )
    return replace(end, **changes)
