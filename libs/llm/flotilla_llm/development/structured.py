"""Makes an object that is valid for a JSON Schema and fits what the user said as well as words can tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from flotilla_llm.development import entities
from flotilla_llm.development.arguments import Schema, kind_of, resolve, text_for
from flotilla_llm.development.call import ChatCall
from flotilla_llm.development.words import meaning, shared, words_in

_FINISHED = {"finish", "finished", "done", "end", "stop", "complete"}
_NEITHER = {"other", "others", "general", "none", "unknown", "misc", "default", "neither"}
_SPOKEN = {
    "answer",
    "reply",
    "response",
    "text",
    "message",
    "summary",
    "content",
    "output",
    "reason",
    "reasoning",
    "explanation",
}
_FORMATS = {
    "date": "2025-01-01", "date-time": "2025-01-01T00:00:00Z", "time": "00:00:00Z", "email": "someone@example.com",
    "uri": "https://example.com/", "uuid": "00000000-0000-4000-8000-000000000000", "ipv4": "127.0.0.1",
    "ipv6": "::1", "hostname": "example.com", "duration": "PT1M",
}  # fmt: skip
_PATTERN_SAMPLES = (
    "a",
    "A",
    "0",
    "ab",
    "AB",
    "00",
    "abc",
    "ABC",
    "000",
    "0000",
    "A1",
    "ABC-123",
    "00000",
    "2025-01-01",
    "+10000000",
)
_DEPTH = 12
_PLAIN = {"type", "description", "title"}


class ObjectMaker:
    """Makes values for one request's schema."""

    def __init__(self, call: ChatCall, root: Schema, answer: Callable[[], str]) -> None:
        self._call = call
        self._root = root
        self._answer = answer
        self._numbers = entities.numbers(call.question)

    def make(self, schema: Schema, name: str = "", depth: int = 0) -> Any:
        """Returns a value that is valid for the schema."""
        schema = resolve(schema, self._root)
        if "const" in schema:
            return schema["const"]
        if enum := schema.get("enum"):
            return self._label(list(enum), str(schema.get("description") or ""))
        kind = kind_of(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("number", "integer"):
            return self._number(schema, kind)
        if kind == "boolean":
            return self._is_about(name, schema)
        return None if kind == "null" else self._string(schema, name)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        if not properties and not schema.get("required"):
            return {} if depth else {"answer": self._answer()}
        wanted = properties if depth < _DEPTH else {}
        made = {name: self.make(part, name, depth + 1) for name, part in wanted.items()}
        for name in schema.get("required") or ():
            made.setdefault(name, self.make(properties.get(name, {}), name, depth + 1))
        return made

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        items = resolve(schema.get("items") or {}, self._root)
        least, most = int(schema.get("minItems") or 0), int(schema.get("maxItems") or 5)
        if depth >= _DEPTH:
            return []
        made: list[Any] = []
        if kind_of(items) == "string" and items.keys() <= _PLAIN:
            made = list(dict.fromkeys(entities.quotations(self._call.question) or entities.names(self._call.question)))
        while len(made) < max(least, min(1, most)):
            made.append(self.make(items, name, depth + 1))
        return made[:most]

    def _label(self, labels: list[Any], description: str) -> Any:
        spoken = self._speakers()
        finish = next((label for label in labels if str(label).lower() in _FINISHED), None)
        open_labels = [label for label in labels if str(label) not in spoken and label is not finish]
        asked = meaning(self._call.question)
        scored = [(self._label_score(label, asked, description), -at, label) for at, label in enumerate(open_labels)]
        best = max(scored, key=lambda entry: entry[:2], default=(0.0, 0, None))
        if best[0] > 0:
            return best[2]
        if spoken and finish is not None:
            return finish
        return next((label for label in labels if str(label).lower() in _NEITHER), (open_labels or labels)[0])

    def _label_score(self, label: Any, asked: set[str], description: str) -> float:
        stems = meaning(str(label))
        told = meaning(_told_of(str(label), f"{description}\n{self._call.instructions}"))
        return 2 * shared(stems, asked) + len(asked & told)

    def _speakers(self) -> set[str]:
        """Returns who has answered since the user last spoke, so that a routing agent comes to an end."""
        speakers: set[str] = set()
        for message in reversed(self._call.messages):
            if message.role == "user":
                break
            if message.role == "assistant" and message.text:
                speakers.add(message.name or "assistant")
        return speakers

    def _number(self, schema: Schema, kind: str) -> float | int:
        number = self._numbers.pop(0) if self._numbers else 1.0
        low, high = schema.get("minimum"), schema.get("maximum")
        if (above := schema.get("exclusiveMinimum")) is not None:
            low = above + (1 if kind == "integer" else 1e-6)
        if (below := schema.get("exclusiveMaximum")) is not None:
            high = below - (1 if kind == "integer" else 1e-6)
        number = max(number, low) if low is not None else number
        number = min(number, high) if high is not None else number
        if step := schema.get("multipleOf"):
            number = (number // step) * step
            number = number + step if low is not None and number < low else number
        return int(number) if kind == "integer" or float(number).is_integer() else number

    def _is_about(self, name: str, schema: Schema) -> bool:
        about = meaning(name + " " + str(schema.get("description") or ""))
        return bool(about & meaning(self._call.question))

    def _string(self, schema: Schema, name: str) -> str:
        if pattern := schema.get("pattern"):
            return next((sample for sample in _PATTERN_SAMPLES if re.search(pattern, sample)), "")
        text = self._answer() if set(words_in(name)) & _SPOKEN else text_for(name, schema, self._call.question) or ""
        wanted = schema.get("format")
        if wanted in _FORMATS and not text:
            text = _FORMATS[wanted]
        text = text or self._call.question or "none"
        text = text.ljust(int(schema.get("minLength") or 0), ".")
        return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _told_of(label: str, text: str) -> str:
    """Returns what a description says of one label in lines like `- billing: charges, invoices, refunds`."""
    found = re.findall(
        rf"(?im)(?:^|[\s;,(*`\"'-])[`\"'*]*{re.escape(label)}[`\"'*]*\s*(?:[:=\u2014\u2013]|\s-\s)\s*([^\n;]+)", text
    )
    return " ".join(found)


def make_object(call: ChatCall, answer: Callable[[], str]) -> Mapping[str, Any]:
    """Returns an object for the schema of the request."""
    schema = call.schema or {}
    made = ObjectMaker(call, schema, answer).make({"type": "object", **schema})
    return made if isinstance(made, dict) else {"answer": made}
