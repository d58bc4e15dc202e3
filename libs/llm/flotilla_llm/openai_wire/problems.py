"""Turns what a provider or the network did wrong into the model layer's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from flotilla_common.errors import FlotillaError

from flotilla_llm.failures import failure

_CONTEXT_CODES = {"context_length_exceeded", "string_above_max_length"}
_CONTEXT_PHRASES = ("maximum context length", "context window", "prompt is too long")
_FILTER_CODES = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
_MESSAGE_LENGTH = 500
_LARGEST_NUMBER = 1e9
"""More seconds, or milliseconds, than this are no wait that anybody means."""
_ERROR_BODY_S, _ERROR_BODY_BYTES = 5.0, 64 * 1024
"""How long and how far an error's body is read: its status alone says most."""


@contextmanager
def map_transport_errors() -> Iterator[None]:
    """Turns aiohttp's errors into ours."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise failure("model_unavailable", "The model provider did not accept a connection in time.") from exc
    except TimeoutError as exc:
        raise failure("model_timeout", "The model provider did not answer in time.") from exc
    except aiohttp.ClientPayloadError as exc:
        raise failure("model_stream_broken", "The model provider broke off its reply.") from exc
    except aiohttp.ClientError as exc:
        raise failure("model_unavailable", "The model provider cannot be reached.") from exc


@contextmanager
def map_shape_errors() -> Iterator[None]:
    """Turns what goes wrong while a provider's JSON is read into model_bad_reply."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
        raise failure("model_bad_reply", "The model provider sent something that is not the OpenAI wire.") from exc


async def raise_for_status(response: aiohttp.ClientResponse, until: float) -> None:
    """Raises the error that a reply other than 2xx stands for, by what comes of its body until that loop time."""
    if response.status < 300:
        return
    try:
        body = orjson.loads(await _error_body(response, until))
    except orjson.JSONDecodeError:
        body = {}
    raise provider_error(response.status, error_in(body), retry_after_s(response.headers))


def error_in(body: object) -> Mapping[str, Any]:
    """Returns the error object of a provider's body; providers write it as an object, a list of one or a string."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    return error if isinstance(error, dict) else {"message": error if isinstance(error, str) else ""}


def provider_error(status: int, error: Mapping[str, Any], retry_after: float | None = None) -> FlotillaError:
    """Returns our error for a provider's status and error object."""
    code = str(error.get("code") or error.get("type") or "")
    said = str(error.get("message") or "")[:_MESSAGE_LENGTH]
    if status in (401, 403) and code not in _FILTER_CODES:
        # The provider's sentence may quote the key.
        return failure("model_credentials_refused", "The model provider refuses this platform's credentials.")
    if status == 404:
        return failure("model_not_found", f"The model provider does not know the model or path. {said}".strip())
    if code == "insufficient_quota" or status == 402:
        return failure("model_quota_spent", "The quota of the model provider's account is spent.")
    if status == 429:
        return failure("model_rate_limited", "The model provider limits our rate.", retry_after_s=retry_after)
    if status in (400, 413, 422) or code in _FILTER_CODES:
        return _refusal(code, said)
    return failure("model_unavailable", f"The model provider failed with status {status}.", retry_after_s=retry_after)


def error_in_stream(error: Mapping[str, Any]) -> FlotillaError:
    """Returns our error for an error object that came as an event of a stream."""
    code = error.get("code")
    status = code if isinstance(code, int) else int(code) if isinstance(code, str) and code.isdigit() else 0
    if not status:
        by_type = {"rate_limit_exceeded": 429, "rate_limit_error": 429, "invalid_request_error": 400}
        status = by_type.get(str(code or ""), 0) or by_type.get(str(error.get("type") or ""), 0) or 500
    return provider_error(status, error)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that `Retry-After` (or OpenAI's `retry-after-ms`) asks for; None for what cannot be read."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After")
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (IndexError, OverflowError, TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        # The zone -0000: UTC, by RFC 5322.
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


async def _error_body(response: aiohttp.ClientResponse, until: float) -> bytes:
    body = b""
    patience_ends_at = asyncio.get_running_loop().time() + _ERROR_BODY_S
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout_at(min(until, patience_ends_at)):
            while chunk := await response.content.read(_ERROR_BODY_BYTES - len(body)):
                body += chunk
    return body


def _refusal(code: str, said: str) -> FlotillaError:
    if code in _CONTEXT_CODES or any(phrase in said.lower() for phrase in _CONTEXT_PHRASES):
        return failure("model_context_exceeded", "The conversation is longer than the model's context window.")
    if code in _FILTER_CODES:
        return failure("model_content_filtered", "The model provider's content filter refuses this request.")
    return failure("model_rejected", f"The model provider refuses the request: {said or 'it gives no reason'}")


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number <= _LARGEST_NUMBER else None
