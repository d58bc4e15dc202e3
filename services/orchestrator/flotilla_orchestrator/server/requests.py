"""Requests as plain values; what cannot be read is INVALID_ARGUMENT naming the field."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla_common.errors import InvalidArgumentError
from flotilla_common.request import current_request
from flotilla_common.rpc.trace_context import TRACEPARENT, inject
from google.protobuf.duration_pb2 import Duration
from opentelemetry import trace

from flotilla_orchestrator.model import Json
from flotilla_orchestrator.runs.execution.work import work_of
from flotilla_orchestrator.service.conversation import StartRequest, TargetKind, read_uuid

_MOST_METADATA_BYTES = 16_384


def read_start(request: pb.StartRunRequest) -> StartRequest:
    """Returns the run that is asked for."""
    run_id = read_uuid(request.run_id, field="run_id")
    kind = request.thread.WhichOneof("target")
    if kind is None or (kind == "ephemeral" and not request.thread.ephemeral):
        raise _wrong("thread", "names no thread")
    if request.WhichOneof("work") is None:
        raise _wrong("input", "is missing")
    try:
        work = work_of(run_id, request)
    except (KeyError, ValueError) as error:
        raise _wrong("input", "has a message without a role or JSON that cannot be read") from error
    return StartRequest(
        run_id=run_id,
        agent=request.agent,
        target=TargetKind(kind),
        target_id="" if kind == "ephemeral" else getattr(request.thread, kind),
        may_create_thread=request.thread.create_if_missing,
        work=work,
        wire=request.wire,
        body_hash=request.body_hash,
        time_limit_s=read_seconds(request.time_limit) if request.HasField("time_limit") else None,
        metadata=read_json(request.metadata_json, field="metadata"),
        idempotency_key=current_request().idempotency_key,
        traceparent=_traceparent(),
        stored=request.SerializeToString(),
    )


def read_json(text: bytes, *, field: str) -> Json:
    """Returns a JSON object; nothing means {}."""
    if len(text) > _MOST_METADATA_BYTES:
        raise _wrong(field, f"is larger than {_MOST_METADATA_BYTES} bytes")
    try:
        value = orjson.loads(text or b"{}")
    except orjson.JSONDecodeError as error:
        raise _wrong(field, "is not JSON") from error
    if not isinstance(value, dict):
        raise _wrong(field, "is not a JSON object")
    return value


def read_optional_uuid(text: str, *, field: str) -> UUID | None:
    """Returns a UUID, or None for nothing."""
    return read_uuid(text, field=field) if text else None


def read_seconds(span: Duration) -> float:
    """Returns a span's seconds, however many they are; a timedelta has not room for all."""
    return span.seconds + span.nanos / 1e9


def read_page_token(token: str) -> Any:
    """Returns what `write_page_token` was given, or None for the first page."""
    if not token:
        return None
    try:
        return orjson.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise _wrong("page_token", "is none of ours") from error


def write_page_token(value: Any) -> str:
    """Returns where a page begins as text; empty when there is none."""
    return "" if value is None else base64.urlsafe_b64encode(orjson.dumps(value)).decode()


def read_run_page(token: str) -> UUID | None:
    """Returns the run that a page comes after."""
    value = read_page_token(token)
    return None if value is None else read_uuid(str(value), field="page_token")


def read_thread_page(token: str) -> tuple[datetime, UUID] | None:
    """Returns the thread that a page comes after."""
    value = read_page_token(token)
    if value is None:
        return None
    try:
        updated_at, thread_id = value
        return datetime.fromisoformat(updated_at), UUID(thread_id)
    except (TypeError, ValueError) as error:
        raise _wrong("page_token", "is none of ours") from error


def _traceparent() -> str | None:
    return dict(inject(trace.get_current_span().get_span_context())).get(TRACEPARENT)


def _wrong(field: str, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{field} {what}.", reason="invalid_value", field=field)
