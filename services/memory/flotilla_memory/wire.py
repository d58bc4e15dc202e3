"""How ids, times and page positions are written in requests; what cannot be read is INVALID_ARGUMENT."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flotilla_common.errors import InvalidArgumentError
from google.protobuf.timestamp_pb2 import Timestamp

from flotilla_memory.model import PagePosition

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_BYTES = 8


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


def write_page_token(position: PagePosition | None) -> str:
    """Returns an opaque token for a position; empty when there is no next page."""
    if position is None:
        return ""
    microseconds = (position.created_at - _EPOCH) // _MICROSECOND
    raw = microseconds.to_bytes(_TIME_BYTES, signed=True) + position.memory_id.bytes
    return urlsafe_b64encode(raw).decode()


def read_page_token(token: str) -> PagePosition | None:
    """Returns the position that a token stands for; None for the first page. Raises InvalidArgumentError."""
    if not token:
        return None
    try:
        raw = urlsafe_b64decode(token.encode("ascii"))
        moment = _EPOCH + int.from_bytes(raw[:_TIME_BYTES], signed=True) * _MICROSECOND
        return PagePosition(moment, UUID(bytes=raw[_TIME_BYTES:]))
    except (ValueError, OverflowError):
        raise InvalidArgumentError("page_token is not one of ours.", field="page_token") from None
