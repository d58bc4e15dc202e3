"""Embeddings from hashed features: texts that share words, stems or parts of words are near each other."""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

from flotilla_llm.development.words import STOP_WORDS, stem, words_in

DIMENSIONS = 256
_STOP_WORD_WEIGHT = 0.08
_PAIR_WEIGHT = 0.25
_PART_WEIGHT = 0.2


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Returns the text's vector, of length one; an empty text is a fixed direction."""
    vector = [0.0] * dimensions
    for feature, weight in _features(text):
        place, sign = _hashed(feature)
        vector[place % dimensions] += sign * weight
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0:
        vector[0] = length = 1.0
    return [value / length for value in vector]


def as_base64(vector: list[float]) -> str:
    """Returns the vector as OpenAI's base64 encoding: little-endian 32-bit floats."""
    return base64.b64encode(array("f", vector).tobytes()).decode()


def _features(text: str) -> Iterator[tuple[str, float]]:
    previous = ""
    for word in words_in(text):
        if word in STOP_WORDS:
            yield word, _STOP_WORD_WEIGHT
            continue
        root = stem(word)
        yield root, 1.0
        if previous:
            yield f"{previous} {root}", _PAIR_WEIGHT
        previous = root
        for part in _parts(root):
            yield part, _PART_WEIGHT


@lru_cache(maxsize=8192)
def _parts(word: str) -> tuple[str, ...]:
    framed = f"<{word}>"
    return tuple(framed[at : at + 3] for at in range(len(framed) - 2))


@lru_cache(maxsize=65536)
def _hashed(feature: str) -> tuple[int, float]:
    number = int.from_bytes(blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    return number >> 1, 1.0 if number & 1 else -1.0
