"""Telling words of a text, for stores without a full-text index, and the digest that makes two texts equal."""

from __future__ import annotations

import hashlib
import re

_WORD = re.compile(r"\w+")
_SUFFIXES = ("ing", "ed", "es", "s", "e")
_SHORTEST_STEM = 3
_STOP_WORDS = frozenset(
    _WORD.findall(
        """
        a about am an and any are as at be been but by can could did do does for from had has have he her him his how i
        if in is it its just me my no not of on or our s she should so some t than that the their them then there these
        they this to up was we were what when where which who why will with would you your
        """
    )
)


def telling_words(text: str) -> frozenset[str]:
    """Returns the stems of a text's words without those that every text has."""
    words = _WORD.findall(text.casefold())
    return frozenset(_stem(word) for word in words if word not in _STOP_WORDS)


def text_digest(text: str) -> bytes:
    """Returns a digest that is equal for texts that differ only in case and white space."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).digest()


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            return word.removesuffix(suffix)
    return word
