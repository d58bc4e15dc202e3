"""API keys as text: how they are minted, shown and proven.

A key is `fl_<9 characters>_<43 characters>` of base 62. The first 12 characters are its visible prefix, by which it is
found; the rest carries 256 bits. Only HMAC-SHA256 of the whole key is stored, keyed by a pepper that is no part of
the database.
"""

from __future__ import annotations

import hmac
import secrets
import string
from collections.abc import Iterable

from flotilla_gateway.model import StoredKey

PREFIX_LENGTH = 12
_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43
_LONGEST = 256


def mint_key() -> str:
    """Returns a new key; nobody will see it again."""
    return f"fl_{_random(PREFIX_LENGTH - 3)}_{_random(_SECRET_LENGTH)}"


def prefix_of(key: str) -> str:
    """Returns the part of a key that may be shown."""
    return key[:PREFIX_LENGTH]


def is_plausible(key: str) -> bool:
    """Whether a text could be a key at all, so that nonsense never reaches the database."""
    return PREFIX_LENGTH + 20 <= len(key) <= _LONGEST and key.isascii() and key.isprintable()


class KeyHasher:
    """Computes the keyed hash by which keys are proven."""

    def __init__(self, pepper: bytes) -> None:
        if len(pepper) < 32:
            raise ValueError("the pepper must have 32 bytes or more")
        self._pepper = pepper

    def hash(self, key: str) -> bytes:
        """Returns HMAC-SHA256 (RFC 2104) of a key, 32 bytes."""
        return hmac.digest(self._pepper, key.encode(), "sha256")


def matching_key(candidates: Iterable[StoredKey], key_hash: bytes) -> StoredKey | None:
    """Returns the candidate with this hash, compared in constant time."""
    for candidate in candidates:
        if hmac.compare_digest(candidate.key_hash, key_hash):
            return candidate
    return None


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
