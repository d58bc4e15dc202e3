"""From bytes to a validated request, or an error that names the field."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from flotilla_common.errors import InvalidArgumentError
from pydantic import BaseModel, ValidationError

from flotilla_gateway.wires.openai.schema import REFUSED

RequestT = TypeVar("RequestT", bound=BaseModel)


def parse_json(body: bytes) -> dict[str, Any]:
    """Returns the JSON object that a body is. Raises InvalidArgumentError."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentError(f"The body is not valid JSON: {error}.", reason="invalid_json") from error
    if not isinstance(parsed, dict):
        raise InvalidArgumentError("The body must be a JSON object.", reason="invalid_json")
    return parsed


def validated(kind: type[RequestT], parsed: dict[str, Any]) -> RequestT:
    """Returns a request. Raises InvalidArgumentError naming the first field at fault."""
    try:
        return kind.model_validate(parsed)
    except ValidationError as error:
        # Neither input nor context goes into the message: bodies hold what people said.
        first = error.errors(include_url=False, include_input=False)[0]
        at = str(first.get("ctx", {}).get("at", ""))
        raise invalid_field(first["loc"], first["type"], first["msg"], at=at) from None


def refuse_unsupported(parsed: dict[str, Any]) -> None:
    """Raises InvalidArgumentError for a field that asks for what we do not do."""
    for field in parsed.keys() & REFUSED.keys():
        if parsed[field] not in REFUSED[field]:
            raise InvalidArgumentError(
                f"Unsupported value: '{field}' is not supported here.", reason="unsupported_value", field=field
            )


def invalid_field(location: tuple[int | str, ...], kind: str, message: str, *, at: str = "") -> InvalidArgumentError:
    """Returns the error that a failed validation stands for.

    at: the place within the field, such as "[1]", when the validator knows it.
    """
    field = field_path(location) + at
    reason = "missing_required_parameter" if kind == "missing" else "invalid_value"
    return InvalidArgumentError(f"Invalid '{field}': {message.rstrip('.')}.", reason=reason, field=field)


def field_path(location: tuple[int | str, ...]) -> str:
    """Returns a place in a body as people write it: `messages[2].content`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path
