"""Words as the development model sees them: stems, what carries meaning, and how alike two texts are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

STOP_WORDS = frozenset({
    "a", "about", "actually", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "did", "do", "does", "doing", "for", "from", "get", "give", "go", "had", "has", "have", "he", "her",
    "here", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "let", "me", "might",
    "mine", "more", "my", "no", "not", "of", "off", "on", "one", "or", "our", "out", "over", "please", "she",
    "should", "so", "some", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "to", "too", "up", "us", "was", "we", "were", "what", "whats", "when", "where", "which", "who", "whom", "whose",
    "why", "will", "with", "would", "you", "your", "yours",
})  # fmt: skip
_SAME = {
    "color": "colour", "favorit": "favourit", "prefer": "like", "love": "like", "enjoy": "like", "lik": "like",
    "reside": "live", "liv": "live", "job": "work", "profession": "work", "calculate": "calculat",
    "compute": "calculat", "comput": "calculat", "forecast": "weather", "temperature": "weather",
    "temperatur": "weather", "clock": "time", "timezone": "time", "memorise": "remember", "memorize": "remember",
    "lookup": "search", "find": "search", "maths": "math", "arithmetic": "math",
}  # fmt: skip
_SUFFIXES = (
    "ations", "ation", "ingly", "ings", "ing", "edly", "ies", "ied", "ely", "ers", "er", "ed", "es", "ly", "s", "e",
)  # fmt: skip
_WORD = re.compile(r"[^\W_]+(?:['\u2019](?!s\b)[^\W_]+)?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def words_in(text: str) -> list[str]:
    """Returns the words in lower case; identifiers are cut at underscores and humps."""
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", text))]


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Returns a light English stem, the same for a few words that mean the same here."""
    if word in _SAME:
        return _SAME[word]
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return _SAME.get(word, word)


def meaning(text: str) -> set[str]:
    """Returns the stems of the words that carry meaning."""
    return {stem(word) for word in words_in(text) if word not in STOP_WORDS}


def shared(asked: Iterable[str], offered: Iterable[str]) -> float:
    """Returns how much of `asked` is in `offered`, 0 to 1; words that begin alike count half."""
    asked, offered = set(asked), set(offered)
    if not asked:
        return 0.0
    rest = asked - offered
    half = sum(any(_begin_alike(word, other) for other in offered) for word in rest)
    return (len(asked) - len(rest) + half / 2) / len(asked)


def _begin_alike(word: str, other: str) -> bool:
    return len(word) >= 4 and len(other) >= 4 and (word.startswith(other[:5]) or other.startswith(word[:5]))
