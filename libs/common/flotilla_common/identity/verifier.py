"""Verifies the identity token of an incoming call."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from flotilla_common.errors import UnauthenticatedError
from flotilla_common.identity.keys import fingerprint, read_public_key
from flotilla_common.identity.model import Identity
from flotilla_common.identity.token import ALGORITHM, ISSUERS, LIFETIME_S, from_claims

CACHED_IDENTITIES = 4096
CLOCK_SKEW_S = 5
LONGEST_TOKEN = 4096
RECHECK_S = 1.0
_log = logging.getLogger(__name__)
_REQUIRED = ["exp", "iat", "aud", "iss", "sub"]


class IdentityVerifier:
    """Accepts tokens for one audience, signed by the issuers whose public keys lie in a folder as `<issuer>.pub`."""

    def __init__(self, public_keys_dir: Path, audience: str, *, issuers: Collection[str] = ISSUERS) -> None:
        self._audience = audience
        self._files = {issuer: public_keys_dir / f"{issuer}.pub" for issuer in issuers}
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._fingerprint: tuple[object, ...] = ()
        self._recheck_at = 0.0
        self._identities: dict[str, tuple[Identity, float]] = {}

    def verify(self, token: str) -> Identity:
        """Returns whom the token names; raises UnauthenticatedError, without saying why, if anything is wrong."""
        now = time.time()
        self._reread_keys(now)
        cached = self._identities.get(token)
        if cached is not None and now < cached[1]:
            return cached[0]
        try:
            claims = self._decode(token)
            identity = from_claims(claims)
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as exc:
            raise UnauthenticatedError("the identity token is not valid", reason="identity_invalid") from exc
        self._remember(token, identity, float(claims["exp"]))
        return identity

    def _decode(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN:
            raise ValueError("the token is too long")
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
        # Anything more in the header (kid, jku, jwk, crit, …) asks us to choose a key by what the caller says.
        if not unverified["header"].keys() <= {"alg", "typ"}:
            raise ValueError("the token's header has more than it needs")
        issuer = unverified["payload"]["iss"]
        if not isinstance(issuer, str) or issuer not in self._keys:
            raise ValueError("nobody we know has issued the token")
        claims: dict[str, Any] = jwt.decode(
            token,
            self._keys[issuer],
            algorithms=[ALGORITHM],
            audience=self._audience,
            issuer=issuer,
            leeway=CLOCK_SKEW_S,
            options={"require": _REQUIRED, "strict_aud": True},
        )
        _check_lifetime(claims)
        return claims

    def _remember(self, token: str, identity: Identity, expires_at: float) -> None:
        self._identities.pop(token, None)
        if len(self._identities) >= CACHED_IDENTITIES:
            del self._identities[next(iter(self._identities))]
        self._identities[token] = identity, expires_at

    def _reread_keys(self, now: float) -> None:
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


def _check_lifetime(claims: dict[str, Any]) -> None:
    issued_at, expires_at = claims["iat"], claims["exp"]
    if type(issued_at) is not int or type(expires_at) is not int:
        raise TypeError("times are whole seconds")
    if not 0 < expires_at - issued_at <= LIFETIME_S:
        raise ValueError("the token lives longer than any of ours")
