"""Fills a JSON Schema with what the user said: a tool's arguments, or an object that was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flotilla_llm.development import entities
from flotilla_llm.development.arithmetic import find_expression
from flotilla_llm.development.words import meaning, words_in

Schema = Mapping[str, Any]

_EXPRESSION = {"expression", "formula", "calculation", "equation"}
_ZONE = {"zone", "timezone", "tz"}
_PLACE = {"city", "location", "place", "town", "country", "destination", "region", "address"}
_FREE_TEXT = {
    "text", "query", "question", "content", "fact", "message", "input", "topic", "prompt", "note", "memory", "request",
    "task", "description", "subject", "body", "search", "q", "term", "keyword", "keywords", "statement",
}  # fmt: skip


class Unfillable(Exception):
    """The user said nothing that this parameter could mean."""


class Sentence:
    """What the user said, and which of its numbers are not yet used."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._numbers = entities.numbers(text)

    def next_number(self) -> float | None:
        """Returns the next number of the sentence."""
        return self._numbers.pop(0) if self._numbers else None


def resolve(schema: Schema, root: Schema) -> Schema:
    """Returns the schema behind a local `$ref` and the first useful branch of `anyOf`, `oneOf` and `allOf`."""
    for _ in range(8):
        if isinstance(reference := schema.get("$ref"), str):
            target: Any = root
            for part in reference.removeprefix("#/").split("/"):
                target = target.get(part, {}) if isinstance(target, Mapping) else {}
            schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
        elif branches := schema.get("anyOf") or schema.get("oneOf"):
            useful = [branch for branch in branches if branch.get("type") != "null"] or branches
            rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
            schema = {**rest, **useful[0]}
        elif parts := schema.get("allOf"):
            schema = _merged(schema, [resolve(part, root) for part in parts])
        else:
            break
    return schema


def kind_of(schema: Schema) -> str:
    """Returns the type that is to be made; of several the first that is not null."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def fill_arguments(parameters: Schema, text: str) -> dict[str, Any]:
    """Returns arguments for a tool. Raises Unfillable when a required one is not in the text."""
    sentence = Sentence(text)
    required = set(parameters.get("required") or ())
    filled: dict[str, Any] = {}
    for name, raw in (parameters.get("properties") or {}).items():
        schema = resolve(raw, parameters)
        try:
            filled[name] = _fill(name, schema, sentence, is_required=name in required)
        except Unfillable:
            if name not in required:
                continue
            if "default" not in schema:
                raise
            filled[name] = schema["default"]
    return filled


def named_value(values: list[Any], text: str) -> Any:
    """Returns the value that the text names, the longest of several. Raises Unfillable."""
    lower = " ".join(words_in(text))
    named = [value for value in values if value is not None and " ".join(words_in(str(value))) in lower and value != ""]
    stems = meaning(text)
    alike = named or [value for value in values if value is not None and meaning(str(value)) & stems]
    if not alike:
        raise Unfillable
    return max(alike, key=lambda value: len(str(value)))


def text_for(name: str, schema: Schema, text: str) -> str | None:
    """Returns the part of the text that a string of this name means, or None when there is no such part."""
    words = set(words_in(name))
    hints = words | set(words_in(str(schema.get("description") or ""))[:12])
    if words & _EXPRESSION or ("expression" in hints and not words & _FREE_TEXT):
        return find_expression(text)
    if words & _ZONE:
        return entities.time_zone(text)
    if "email" in words or "mail" in words or schema.get("format") == "email":
        return entities.email(text)
    if words & {"url", "uri", "link"} or schema.get("format") == "uri":
        return entities.url(text)
    if words & {"date", "day"} or schema.get("format") == "date":
        return entities.date(text)
    quoted = entities.quotations(text)
    if words & _PLACE:
        return entities.place(text) or next(iter(quoted or entities.names(text)), None)
    if quoted:
        return quoted[0]
    if words & _FREE_TEXT:
        return entities.gist(text)
    return next(iter(entities.names(text)), None) or entities.gist(text)


def _fill(name: str, schema: Schema, sentence: Sentence, *, is_required: bool) -> Any:
    if "const" in schema:
        return schema["const"]
    if enum := schema.get("enum"):
        return named_value(list(enum), sentence.text)
    kind = kind_of(schema)
    if kind in ("number", "integer"):
        return _number(kind, sentence)
    if kind == "boolean":
        return _boolean(name, sentence, is_required=is_required)
    if kind == "array":
        return _array(name, resolve(schema.get("items") or {}, schema), sentence, is_required=is_required)
    if kind == "object":
        return fill_arguments(schema, sentence.text)
    found = text_for(name, schema, sentence.text)
    if not found or (not is_required and set(words_in(name)).isdisjoint(_ZONE | _PLACE | _EXPRESSION)):
        raise Unfillable
    return found


def _number(kind: str, sentence: Sentence) -> float | int:
    number = sentence.next_number()
    if number is None:
        raise Unfillable
    return int(number) if kind == "integer" or number.is_integer() else number


def _boolean(name: str, sentence: Sentence, *, is_required: bool) -> bool:
    if meaning(name) & meaning(sentence.text):
        return re.search(r"\b(?:not|no|without|don't)\b", sentence.text, re.I) is None
    if not is_required:
        raise Unfillable
    return False


def _array(name: str, items: Schema, sentence: Sentence, *, is_required: bool) -> list[Any]:
    if not is_required:
        raise Unfillable
    if kind_of(items) in ("number", "integer"):
        found = [int(number) if number.is_integer() else number for number in entities.numbers(sentence.text)]
        if not found:
            raise Unfillable
        return found
    if enum := items.get("enum"):
        return [named_value(list(enum), sentence.text)]
    if kind_of(items) == "object":
        return [fill_arguments(items, sentence.text)]
    many = entities.quotations(sentence.text) or entities.names(sentence.text)
    return many or [entities.gist(sentence.text)]


def _merged(schema: Schema, parts: list[Schema]) -> Schema:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        for key, value in part.items():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, ()), *value]
            else:
                merged.setdefault(key, value)
    return merged
