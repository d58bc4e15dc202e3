"""Signs identities for the services that are called."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from flotilla_common.identity.ed25519 import encode
from flotilla_common.identity.keys import fingerprint, read_private_key
from flotilla_common.identity.model import Identity
from flotilla_common.identity.session import CallerSession
from flotilla_common.identity.token import ISSUERS, LIFETIME_S, claims_of_many, frame, session_claims, to_claims

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
        self._reread_key()
        cached = self._tokens.get((identity, audience))
        if cached is not None and now < cached[1]:
            return cached[0]
        token = self._signed(to_claims(identity), audience)
        self._remember((identity, audience), token, now)
        return token

    def sign_all(self, identities: Iterable[Identity], *, audience: str) -> str:
        """Returns one token for all parts of a batch, each for the identity in its place."""
        return self._signed(claims_of_many(identities), audience)

    def begin_session(self, *, audience: str) -> CallerSession:
        """Returns a new session with a server of the audience, which lasts half a token's life."""

        def vouch(public_key: bytes) -> str:
            return self._signed(session_claims(public_key), audience)

        return CallerSession(vouch, lasts_s=LIFETIME_S / 2)

    def _signed(self, claims: dict[str, Any], audience: str) -> str:
        self._reread_key()
        whole = frame(issuer=self._issuer, audience=audience, issued_at=int(time.time())) | claims
        return encode(orjson.dumps(whole), self._key)

    def _remember(self, key: tuple[Identity, str], token: str, now: float) -> None:
        self._tokens.pop(key, None)
        if len(self._tokens) >= CACHED_TOKENS:
            # Lives are equally long, so the oldest entry is also the first to expire.
            del self._tokens[next(iter(self._tokens))]
        self._tokens[key] = token, now + LIFETIME_S / 2

    def _reread_key(self) -> None:
        now = time.monotonic()
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
