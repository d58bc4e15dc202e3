"""Signs identities for the services that are called."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import orjson

from flotilla_common.identity.ed25519 import encode
from flotilla_common.identity.keys import fingerprint, read_private_key
from flotilla_common.identity.model import Identity
from flotilla_common.identity.token import ISSUERS, LIFETIME_S, to_claims

CACHED_TOKENS = 4096
RECHECK_S = 1.0
_log = logging.getLogger(__name__)


class IdentitySigner:
    """Vouches for identities as one issuer; a token is used again until half its life is over."""

    def __init__(self, issuer: str, private_key_file: Path) -> None:
        if issuer not in ISSUERS:
            raise ValueError(f"{issuer!r} is no issuer; issuers are {', '.join(ISSUERS)}")
        self._issuer = issuer
        self._file = private_key_file
        self._fingerprint = fingerprint([private_key_file])
        self._key = read_private_key(private_key_file)
        self._recheck_at = 0.0
        self._tokens: dict[tuple[Identity, str], tuple[str, float]] = {}

    def sign(self, identity: Identity, *, audience: str) -> str:
        """Returns a token that the audience, and nobody else, accepts for the next half minute at least."""
        now = time.time()
        self._reread_key(now)
        cached = self._tokens.get((identity, audience))
        if cached is not None and now < cached[1]:
            return cached[0]
        claims = to_claims(identity, issuer=self._issuer, audience=audience, issued_at=int(now))
        token = encode(orjson.dumps(claims), self._key)
        self._remember((identity, audience), token, now)
        return token

    def _remember(self, key: tuple[Identity, str], token: str, now: float) -> None:
        self._tokens.pop(key, None)
        if len(self._tokens) >= CACHED_TOKENS:
            # Lives are equally long, so the oldest entry is also the first to expire.
            del self._tokens[next(iter(self._tokens))]
        self._tokens[key] = token, now + LIFETIME_S / 2

    def _reread_key(self, now: float) -> None:
        if now < self._recheck_at:
            return
        self._recheck_at = now + RECHECK_S
        found = fingerprint([self._file])
        if found == self._fingerprint:
            return
        try:
            self._key = read_private_key(self._file)
        except (OSError, ValueError) as exc:
            # A file that is just being replaced: the old key serves until the new one is there.
            _log.error("the private key cannot be read", extra={"issuer": self._issuer, "cause": type(exc).__name__})
            return
        self._fingerprint = found
        self._tokens.clear()
