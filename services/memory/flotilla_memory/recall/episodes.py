"""How a turn becomes the text that is remembered."""

from __future__ import annotations

from collections.abc import Sequence

from flotilla_memory.model import Speaker, SpokenMessage

_LONGEST_MESSAGE = 4_000
_NAMES = {Speaker.HUMAN: "User", Speaker.ASSISTANT: "Assistant"}


def episode_text(messages: Sequence[SpokenMessage]) -> str:
    """Returns the turn as "User: … / Assistant: …"; empty when nobody said anything.

    System and tool messages are left out, because what they say was written by nobody who may instruct us.
    """
    said = [(message.speaker, storable(message.text)) for message in messages if message.speaker in _NAMES]
    return " / ".join(f"{_NAMES[speaker]}: {shorten(text)}" for speaker, text in said if text)


def storable(text: str) -> str:
    """Returns the text without surrounding space and NUL, which Postgres does not store."""
    return text.replace("\x00", "").strip()


def shorten(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """Returns the text, cut with an ellipsis when it is longer than `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
