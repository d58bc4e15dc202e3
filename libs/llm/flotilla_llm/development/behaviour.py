"""How an answer is given rather than what it says: length, pace, salt and faults, asked for by text or metadata.

In the text of the last user message, and so through the whole platform:

    [[dev: tokens=200 delay_ms=20 first_delay_ms=500 fault=cut_after:5 times=1 salt=random]]

In the request's `metadata`: `flotilla_dev_tokens`, `flotilla_dev_token_delay_ms`, `flotilla_dev_first_token_delay_ms`,
`flotilla_dev_fault`, `flotilla_dev_times`, `flotilla_dev_salt`. Script rules (script.py) say the same in YAML.

Faults: `429[:retry after s]`, `500[:retry after s]` or any other status, `cut_after:TOKENS`,
`stall_after:TOKENS[:SECONDS]`, `bad_json[:TOKENS]` (an event that is not JSON) and `bad_tool_json` (a tool call whose
arguments are not JSON).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flotilla_llm.development.call import MAX_OUTPUT_TOKENS, BadRequest

_DIRECTIVE = re.compile(r"\s*\[\[\s*dev:(?P<options>[^\]]*)\]\]")
_METADATA = {
    "flotilla_dev_tokens": "tokens",
    "flotilla_dev_token_delay_ms": "delay_ms",
    "flotilla_dev_first_token_delay_ms": "first_delay_ms",
    "flotilla_dev_fault": "fault",
    "flotilla_dev_times": "times",
    "flotilla_dev_salt": "salt",
}
_STALL_S = 120.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail."""

    kind: str
    """status, cut, stall, bad_json or bad_tool_json."""
    after: int = 0
    """Tokens that are sent before it."""
    status: int = 0
    retry_after_s: float | None = None
    stall_s: float = _STALL_S


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one answer is given; None leaves the server's own."""

    tokens: int | None = None
    """The answer's text is the numbers from 1 to this, so that a lost or doubled token shows."""
    delay_ms: float | None = None
    first_delay_ms: float = 0
    fault: Fault | None = None
    times: int | None = None
    """How many requests with this text meet the fault; None means all."""
    salt: str = ""
    """`random` makes every answer differ, anything else is a part of it."""


def without_directives(text: str) -> str:
    """Returns the text as the model is to understand it."""
    return _DIRECTIVE.sub("", text).strip() if "[[" in text else text


def read_behaviour(question: str, metadata: Mapping[str, str], default: Behaviour) -> Behaviour:
    """Returns the behaviour that metadata and then the text ask for. Raises BadRequest."""
    options = {short: metadata[long] for long, short in _METADATA.items() if long in metadata}
    if "[[" in question and (found := _DIRECTIVE.search(question)):
        options |= dict(pair.split("=", 1) for pair in found["options"].split() if "=" in pair)
    return replace(default, **_typed(options)) if options else default


def read_fault(text: str) -> Fault:
    """Returns the fault that the text means. Raises BadRequest."""
    kind, _, rest = text.partition(":")
    numbers = [float(part) for part in rest.split(":") if part]
    first = numbers[0] if numbers else None
    if kind.isdigit():
        return Fault("status", status=int(kind), retry_after_s=first)
    if kind == "cut_after":
        return Fault("cut", after=int(first or 0))
    if kind == "stall_after":
        return Fault("stall", after=int(first or 0), stall_s=numbers[1] if len(numbers) > 1 else _STALL_S)
    if kind == "bad_json":
        return Fault("bad_json", after=int(first or 0))
    if kind == "bad_tool_json":
        return Fault("bad_tool_json")
    raise BadRequest(f"There is no fault {kind!r}.", "fault")


def _typed(options: Mapping[str, str]) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    try:
        for name, value in options.items():
            if name in ("tokens", "times"):
                typed[name] = min(int(value), MAX_OUTPUT_TOKENS)
            elif name in ("delay_ms", "first_delay_ms"):
                typed[name] = float(value)
            elif name == "fault":
                typed[name] = read_fault(value)
            elif name == "salt":
                typed[name] = value
            else:
                raise BadRequest(f"There is no directive {name!r}.", "messages")
    except ValueError as exc:
        raise BadRequest(f"A directive of the development model is no number: {exc}", "messages") from exc
    return typed
