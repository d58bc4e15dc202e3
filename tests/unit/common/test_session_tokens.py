"""Tokens that sessions begin with: what is accepted, and what is taken for nothing else."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flotilla_common.errors import UnauthenticatedError
from flotilla_common.identity import IdentitySigner, IdentityVerifier
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_kx_keypair
from unit.common.test_identity import IDENTITY, SUPPRESSED, Forge

NO_KEYS = {
    "empty": b"",
    "one byte short": b"x" * 31,
    "one byte more": b"x" * 33,
    "all zero": bytes(32),
    "a point of small order": bytes([1, *bytes(31)]),
}


@pytest.mark.parametrize("name", ["verify", "verify_all"])
def test_token_of_a_session_names_nobody(signer: IdentitySigner, verifier: IdentityVerifier, name: str) -> None:
    token = signer.begin_session(audience="memory").token

    with pytest.raises(UnauthenticatedError) as caught:
        getattr(verifier, name)(token)

    assert caught.value.reason == "identity_invalid"


def test_token_of_an_identity_begins_no_session(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    token = signer.sign(IDENTITY, audience="memory")
    verifier.verify(token)

    with pytest.raises(UnauthenticatedError) as caught:
        verifier.begin_session(token)

    assert caught.value.reason == "identity_invalid"


def test_token_of_a_batch_begins_no_session(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    token = signer.sign_all([IDENTITY], audience="memory")
    verifier.verify_all(token)

    with pytest.raises(UnauthenticatedError) as caught:
        verifier.begin_session(token)

    assert caught.value.reason == "identity_invalid"


def as_claim(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode()


def session_token(forge: Forge, *, signed_with: Ed25519PrivateKey | None = None, **changes: object) -> str:
    """Returns a session's token that is right but for the changes."""
    nobody = {"sub": ..., "tenant": ..., "remembers": ..., "scopes": ...}
    claims = forge.claims(**{**nobody, "session": as_claim(crypto_kx_keypair()[0]), **changes})
    return forge.signed(claims, key=signed_with)


BAD_TOKENS: dict[str, Callable[[Forge], str]] = {
    "another audience": lambda f: session_token(f, aud="tool"),
    "unknown issuer": lambda f: session_token(f, iss="memory"),
    "another issuer": lambda f: session_token(f, iss="orchestrator"),
    "untrusted key": lambda f: session_token(f, signed_with=Ed25519PrivateKey.generate()),
    "changed signature": lambda f: session_token(f)[:-8] + "AAAAAAAA",
    "expired": lambda f: session_token(f, iat=int(time.time()) - 120, exp=int(time.time()) - 60),
    "longer than ours": lambda f: session_token(f, exp=int(time.time()) + 3600),
    "no exp": lambda f: session_token(f, exp=...),
    "no key": lambda f: session_token(f, session=...),
    "key is no base64": lambda f: session_token(f, session="*" * 43),
    "key is half base64": lambda f: session_token(f, session="A"),
    "key is null": lambda f: session_token(f, session=None),
    "key is a number": lambda f: session_token(f, session=7),
    "key is a list": lambda f: session_token(f, session=[as_claim(crypto_kx_keypair()[0])]),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_bad_token_begins_no_session(keys: Path, verifier: IdentityVerifier, name: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        verifier.begin_session(BAD_TOKENS[name](Forge(keys)))

    assert caught.value.reason == "identity_invalid"


@pytest.mark.parametrize("name", NO_KEYS)
def test_token_with_what_is_no_key_begins_no_session(keys: Path, verifier: IdentityVerifier, name: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        verifier.begin_session(session_token(Forge(keys), session=as_claim(NO_KEYS[name])))

    assert caught.value.reason == "identity_invalid"


def test_the_forge_makes_good_tokens_but_for_what_it_changes(keys: Path, verifier: IdentityVerifier) -> None:
    assert len(verifier.begin_session(session_token(Forge(keys))).answer) == 32


@given(token=st.text(max_size=300))
@settings(suppress_health_check=SUPPRESSED)
def test_any_text_begins_no_session(verifier: IdentityVerifier, token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        verifier.begin_session(token)
