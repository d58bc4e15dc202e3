"""Signed tokens: their form, and an identity or a session's key to claims and back, the same way at both ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from jwt.utils import base64url_decode, base64url_encode

from flotilla_common.identity.ed25519 import ALGORITHM
from flotilla_common.identity.model import Identity
from flotilla_common.identity.packed import pack, unpack

HEADER = {"alg": ALGORITHM, "typ": "JWT"}
LIFETIME_S = 60
ISSUERS = ("gateway", "orchestrator")
"""Who may vouch for a caller: the door, and for a run that outlives its request, the orchestrator."""
AUDIENCES = ("orchestrator", "memory", "tool", "evaluator")
"""Who is told: a token for one service is worth nothing at another."""


def frame(*, issuer: str, audience: str, issued_at: int) -> dict[str, Any]:
    """Returns the claims that every token has: by whom, for whom, from when and until when."""
    return {"iss": issuer, "aud": audience, "iat": issued_at, "exp": issued_at + LIFETIME_S}


def to_claims(identity: Identity) -> dict[str, Any]:
    """Returns the claims that say who the call is for."""
    claims: dict[str, Any] = {
        "sub": str(identity.user_id),
        "tenant": str(identity.tenant_id),
        "remembers": identity.remembers,
        "scopes": sorted(identity.scopes),
    }
    if identity.run_id is not None:
        claims["run_id"] = str(identity.run_id)
    return claims


def session_claims(public_key: bytes) -> dict[str, Any]:
    """Returns the claims of a session's key: they name nobody, so that no service takes them for an identity."""
    return {"session": base64url_encode(public_key).decode()}


def session_key_of(claims: Mapping[str, Any]) -> bytes:
    """Returns the session's public key; raises KeyError, TypeError or ValueError if the claims have another shape."""
    return base64url_decode(claims["session"])


def claims_of_many(identities: Iterable[Identity]) -> dict[str, Any]:
    """Returns the claims that say who the parts of a batch are for, in order."""
    return {"identities": [base64url_encode(pack(identity)).decode() for identity in identities]}


def many_from(claims: Mapping[str, Any]) -> list[Identity]:
    """Returns the identities; raises KeyError, TypeError or ValueError if the claims have another shape."""
    return [unpack(base64url_decode(packed)) for packed in claims["identities"]]


def from_claims(claims: Mapping[str, Any]) -> Identity:
    """Returns the identity; raises KeyError, TypeError or ValueError if the claims have another shape."""
    remembers, scopes = claims["remembers"], claims["scopes"]
    if not isinstance(remembers, bool) or not isinstance(scopes, list):
        raise TypeError("remembers is a boolean and scopes a list")
    if not all(isinstance(scope, str) for scope in scopes):
        raise TypeError("a scope is a string")
    return Identity(
        tenant_id=_uuid(claims["tenant"]),
        user_id=_uuid(claims["sub"]),
        remembers=remembers,
        scopes=frozenset(scopes),
        run_id=_uuid(claims["run_id"]) if "run_id" in claims else None,
    )


def _uuid(value: object) -> UUID:
    if not isinstance(value, str):
        raise TypeError("an id is a string")
    return UUID(value)
