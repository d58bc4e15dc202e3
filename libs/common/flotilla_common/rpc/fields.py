"""How ids, times and page positions are written in requests; what cannot be read is INVALID_ARGUMENT."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from flotilla_common.errors import InvalidArgumentError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_BYTES = 8
PositionT = TypeVar("PositionT")


def read_id(text: str, *, field: str) -> UUID:
    """Returns the UUID that a field holds. Raises InvalidArgumentError."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidArgumentError(f"{field} is not a UUID.", field=field) from None


def read_optional_id(text: str, *, field: str) -> UUID | None:
    """Returns the UUID that a field holds, or None when it is empty. Raises InvalidArgumentError."""
    return read_id(text, field=field) if text else None


def read_time(stamp: Timestamp, *, field: str) -> datetime:
    """Returns the moment that a field holds. Raises InvalidArgumentError."""
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgumentError(f"{field} is not a moment.", field=field) from None


def read_span(span: Duration, *, field: str) -> float:
    """Returns the seconds that a field holds. Raises InvalidArgumentError when they are negative."""
    seconds = span.seconds + span.nanos / 1e9
    if seconds < 0:
        raise InvalidArgumentError(f"{field} is negative.", field=field)
    return seconds


def write_page_token(position: tuple[datetime, UUID] | None) -> str:
    """Returns an opaque token for where a page ended in a list by time and id; empty when there is no next page."""
    if position is None:
        return ""
    moment, id_ = position
    microseconds = (moment - _EPOCH) // _MICROSECOND
    return urlsafe_b64encode(microseconds.to_bytes(_TIME_BYTES, signed=True) + id_.bytes).decode()


def read_page_token(token: str, kind: Callable[[datetime, UUID], PositionT]) -> PositionT | None:
    """Returns the position that a token stands for; None for the first page. Raises InvalidArgumentError."""
    if not token:
        return None
    try:
        raw = urlsafe_b64decode(token.encode("ascii"))
        moment = _EPOCH + int.from_bytes(raw[:_TIME_BYTES], signed=True) * _MICROSECOND
        return kind(moment, UUID(bytes=raw[_TIME_BYTES:]))
    except (ValueError, OverflowError):
        raise InvalidArgumentError("page_token is not one of ours.", field="page_token") from None
