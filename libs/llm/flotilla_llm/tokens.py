"""Counts tokens without any provider's tables, rather too many than too few.

The exact count needs the model's vocabulary, which is not ours to ship and which tiktoken downloads at run time.
Text is cut into the pieces that GPT-4's pre-tokeniser makes (a byte pair encoding never merges across them), and each
piece is charged by its script and length with more than such a piece usually costs. `at_most` is a true bound, of the
count here and of any: byte-level encodings never make more tokens than the text has bytes. `at_least` bounds the count
that is made here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson

MESSAGE_OVERHEAD = 4
"""Role and separators of one message (OpenAI's cookbook counts 3, and 1 more for a name)."""
TOOL_CALL_OVERHEAD = 8
REPLY_OVERHEAD = 3
"""The reply's own beginning, counted once a request."""
_CACHED_LENGTH = 8192
_LONGEST_TOKEN = 16
"""No piece is charged less than a token for so many characters; white space comes closest."""

_PIECES = re.compile(
    r"(?P<word>[^\r\n\w]?[^\W\d_]+)|(?P<digits>\d{1,3})|(?P<marks> ?(?:[^\s\w]|_)+[\r\n]*)|(?P<space>\s+)",
)


def count_text(text: str) -> int:
    """Returns a conservative estimate of the tokens in a text."""
    return _count_cached(text) if len(text) <= _CACHED_LENGTH else _count_long(text)


def at_least(text: str) -> int:
    """Returns a lower bound of `count_text`, without looking at the text."""
    return -(-len(text) // _LONGEST_TOKEN)


def at_most(text: str) -> int:
    """Returns a bound that no byte-level encoding exceeds, without looking at the text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def count_message(message: Mapping[str, Any]) -> int:
    """Returns the tokens of one wire message, its tool calls included."""
    return _charge_message(message, count_text)


def message_at_most(message: Mapping[str, Any]) -> int:
    """Returns a cheap upper bound of `count_message`."""
    return _charge_message(message, at_most)


def message_at_least(message: Mapping[str, Any]) -> int:
    """Returns a lower bound of `count_message` that takes no time."""
    return _charge_message(message, at_least)


def count_tools(tools: Iterable[Mapping[str, Any]]) -> int:
    """Returns the tokens that tool definitions take of the window."""
    return sum(count_text(orjson.dumps(tool).decode()) + TOOL_CALL_OVERHEAD for tool in tools)


def tools_at_most(tools: Iterable[Mapping[str, Any]]) -> int:
    """Returns a cheap upper bound of `count_tools`."""
    return sum(len(orjson.dumps(tool)) + TOOL_CALL_OVERHEAD for tool in tools)


def text_of(content: object) -> str:
    """Returns the text of a wire message's content, which is a string, a list of parts or nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return ""


def _charge_message(message: Mapping[str, Any], count: Any) -> int:
    total: int = MESSAGE_OVERHEAD + count(text_of(message.get("content")))
    if name := message.get("name"):
        total += count(name)
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        total += TOOL_CALL_OVERHEAD + count(function.get("name") or "") + count(function.get("arguments") or "")
    return total


def _count_long(text: str) -> int:
    # Kept by its hash, of 64 bits and keyed by the process: the cache holds on to no long text.
    counted = _long_count(hash(text), len(text))
    if not counted:
        counted.append(_count(text))
    return counted[0]


def _count(text: str) -> int:
    total = 0
    for piece in _PIECES.finditer(text):
        length = piece.end() - piece.start()
        kind = piece.lastgroup
        if kind == "word":
            total += _count_word(piece.group())
        elif kind == "digits":
            total += 1
        elif kind == "marks":
            total += _count_marks(piece.group())
        else:
            total += 1 + length // 16
    return total


def _count_word(word: str) -> int:
    if not word.isascii():
        return _count_foreign(word)
    body = word if word[0].isalpha() else word[1:]
    if body.islower() or body.istitle():
        # English words of five to eight letters are often one token, names and other languages' words are not.
        return -(-len(body) // 5)
    return -(-len(body) // 2)


def _count_foreign(word: str) -> int:
    # Thirds of a token a character: 2 for two bytes (Latin, Greek, Cyrillic…), 4 for three (CJK…), a byte each beyond.
    thirds = sum(1 if c < "\x80" else 2 if c < "\u0800" else 4 if c < "\U00010000" else 12 for c in word)
    return -(-thirds // 3)


def _count_marks(marks: str) -> int:
    if marks.isascii():
        return 1 if len(marks) <= 2 else -(-len(marks) // 2)
    return sum(1 if c < "\x80" else 2 if c < "\u0800" else 3 if c < "\U00010000" else 4 for c in marks)


_count_cached = lru_cache(maxsize=2048)(_count)


@lru_cache(maxsize=2048)
def _long_count(digest: int, length: int) -> list[int]:
    """Returns the place for a long text's count: empty until it is counted."""
    return []
