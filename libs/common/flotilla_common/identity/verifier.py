"""Verifies what is signed: identities of calls, those of a batch, and the key that a session begins with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import jwt
import orjson
from jwt.utils import base64url_decode
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from flotilla_common.errors import UnauthenticatedError
from flotilla_common.identity.ed25519 import decode
from flotilla_common.identity.keys import fingerprint, read_public_key
from flotilla_common.identity.model import Identity
from flotilla_common.identity.session import ServerSession
from flotilla_common.identity.token import HEADER, ISSUERS, LIFETIME_S, from_claims, many_from, session_key_of

CACHED_IDENTITIES = 4096
CLOCK_SKEW_S = 5
LONGEST_TOKEN = 4096
LONGEST_TOKEN_OF_MANY = 256 * 1024
RECHECK_S = 1.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class IdentityVerifier:
    """Accepts tokens for one audience, signed by the issuers whose public keys lie in a folder as `<issuer>.pub`."""

    def __init__(self, public_keys_dir: Path, audience: str, *, issuers: Collection[str] = ISSUERS) -> None:
        self._audience = audience
        self._files = {issuer: public_keys_dir / f"{issuer}.pub" for issuer in issuers}
        self._keys: dict[str, VerifyKey] = {}
        self._fingerprint: tuple[object, ...] = ()
        self._recheck_at = 0.0
        self._identities: dict[str, tuple[Identity, float]] = {}

    def verify(self, token: str) -> Identity:
        """Returns whom the token names; raises UnauthenticatedError, without saying why, if anything is wrong."""
        now = time.time()
        self._reread_keys()
        cached = self._identities.get(token)
        if cached is not None and now < cached[1]:
            return cached[0]
        identity, expires_at = self._read(token, from_claims)
        self._remember(token, identity, expires_at)
        return identity

    def verify_all(self, token: str) -> list[Identity]:
        """Returns for whom the parts of a batch are, in order; raises UnauthenticatedError as `verify` does."""
        return self._read(token, many_from, longest=LONGEST_TOKEN_OF_MANY)[0]

    def begin_session(self, token: str) -> ServerSession:
        """Returns this end of a session with who signed the token; raises UnauthenticatedError as `verify` does.

        It is over when it has lasted as long as a token lives, and as soon as any issuer's key is another one.
        """
        return self._read(token, self._session)[0]

    def _session(self, claims: dict[str, Any]) -> ServerSession:
        keys, ends_at = self._keys, time.monotonic() + LIFETIME_S

        def is_current() -> bool:
            self._reread_keys()
            return self._keys == keys and time.monotonic() < ends_at

        return ServerSession(session_key_of(claims), is_current=is_current)

    def _read(
        self, token: str, read: Callable[[dict[str, Any]], T], *, longest: int = LONGEST_TOKEN
    ) -> tuple[T, float]:
        """Returns what a token says and when it expires. Raises UnauthenticatedError."""
        self._reread_keys()
        try:
            if len(token) > longest:
                raise ValueError("the token is too long")
            claims = self._decode(token, time.time())
            return read(claims), float(claims["exp"])
        except (jwt.PyJWTError, CryptoError, KeyError, TypeError, ValueError) as exc:
            raise UnauthenticatedError("the identity token is not valid", reason="identity_invalid") from exc

    def _decode(self, token: str, now: float) -> dict[str, Any]:
        issuer = _named_issuer(token)
        header, payload = decode(token, self._keys[issuer])
        # Anything more in the header (kid, jku, jwk, crit, …) asks us to choose a key by what the caller says.
        if header != HEADER:
            raise ValueError("the token's header is none of ours")
        claims: dict[str, Any] = orjson.loads(payload)
        if claims["iss"] != issuer or claims["aud"] != self._audience:
            raise ValueError("the token is by or for somebody else")
        _check_times(claims, now)
        return claims

    def _remember(self, token: str, identity: Identity, expires_at: float) -> None:
        self._identities.pop(token, None)
        if len(self._identities) >= CACHED_IDENTITIES:
            del self._identities[next(iter(self._identities))]
        self._identities[token] = identity, expires_at

    def _reread_keys(self) -> None:
        now = time.monotonic()
        if now < self._recheck_at:
            return
        self._recheck_at = now + RECHECK_S
        found = fingerprint(self._files.values())
        if found == self._fingerprint:
            return
        try:
            keys = {issuer: read_public_key(file) for issuer, file in self._files.items() if file.exists()}
        except (OSError, ValueError) as exc:
            # Most likely a file that is being written: what was known holds until it can be read.
            _log.error("a public key cannot be read", extra={"audience": self._audience, "cause": str(exc)})
            return
        self._keys, self._fingerprint = keys, found
        self._identities.clear()


def _named_issuer(token: str) -> str:
    """Returns who says to have issued the token; nothing has proven it yet."""
    _, payload, _ = token.split(".")
    issuer: str = orjson.loads(base64url_decode(payload))["iss"]
    return issuer


def _check_times(claims: dict[str, Any], now: float) -> None:
    issued_at, expires_at, not_before = claims["iat"], claims["exp"], claims.get("nbf", 0)
    if any(type(time) is not int for time in (issued_at, expires_at, not_before)):
        raise TypeError("times are whole seconds")
    if not 0 < expires_at - issued_at <= LIFETIME_S:
        raise ValueError("the token lives longer than any of ours")
    if max(issued_at, not_before) > now + CLOCK_SKEW_S or expires_at <= now - CLOCK_SKEW_S:
        raise ValueError("the token is not valid at this time")
