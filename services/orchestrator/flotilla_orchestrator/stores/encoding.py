"""How plain values become columns and come back."""

from __future__ import annotations

from typing import cast

import orjson

from flotilla_orchestrator.model import Json, MessageDict


def storable_json(value: Json) -> str:
    """Returns JSON that `jsonb` accepts: it has no room for the character NUL, which is left out."""
    encoded = orjson.dumps(value)
    if b"\\u0000" in encoded:
        encoded = orjson.dumps(_without_nul(orjson.loads(encoded)))
    return encoded.decode()


def answer_bytes(answer: MessageDict | None) -> bytes | None:
    """Returns an answer as it is stored."""
    return None if answer is None else orjson.dumps(answer)


def answer_from(stored: bytes | None) -> MessageDict | None:
    """Returns a stored answer."""
    return None if stored is None else cast(MessageDict, orjson.loads(stored))


def _without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value
