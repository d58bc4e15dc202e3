"""Replies that are data: what is asked for, and what was understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flotilla_common.errors import FailedPreconditionError
from jsonschema import Draft202012Validator

Schema = Mapping[str, Any]


def json_format(name: str, schema: Schema) -> Mapping[str, Any]:
    """Returns OpenAI's response_format for an object of this schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def object_schema(properties: Mapping[str, Schema]) -> Schema:
    """Returns the schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def one_of(words: Sequence[str], description: str = "") -> Schema:
    """Returns the schema of one of these words."""
    return {"type": "string", "enum": list(words), **({"description": description} if description else {})}


def read_object(text: str) -> dict[str, Any]:
    """Returns the object that a reply holds, or an empty one when it holds none.

    Models without structured output wrap the object in prose or a code block: what counts is between the outer braces.
    """
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < begin:
        return {}
    try:
        value = orjson.loads(text[begin : end + 1])
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def read_label(text: str, labels: Sequence[str]) -> str:
    """Returns the label that a reply names; the last one when it names none."""
    named = str(read_object(text).get("label", text)).strip().casefold()
    for label in labels:
        if label.casefold() == named:
            return label
    return next((label for label in labels if label.casefold() in named), labels[-1])


def read_valid(text: str, schema: Schema, *, step: str) -> str:
    """Returns a reply's object as canonical JSON. Raises FailedPreconditionError when it does not fit the schema."""
    value = read_object(text)
    error = next(Draft202012Validator(schema).iter_errors(value), None)
    if error is not None:
        raise FailedPreconditionError(
            f"The step '{step}' did not give what it should: {error.message}", reason="step_output_invalid"
        )
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
