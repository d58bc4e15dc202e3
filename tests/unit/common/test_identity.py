"""Tokens: what is accepted, and the many that are not."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flotilla_common.errors import UnauthenticatedError
from flotilla_common.identity import Identity, IdentitySigner, IdentityVerifier, generate_key_pair
from flotilla_common.identity import signer as signer_module
from flotilla_common.identity import verifier as verifier_module
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
IDENTITY = Identity(uuid4(), uuid4(), remembers=False, scopes=frozenset({"chat", "act_as"}), run_id=uuid4())
HEADER = {"alg": "EdDSA", "typ": "JWT"}


@pytest.mark.parametrize("issuer", ["gateway", "orchestrator"])
def test_verify_returns_the_identity_that_was_signed(keys: Path, verifier: IdentityVerifier, issuer: str) -> None:
    token = IdentitySigner(issuer, keys / f"{issuer}.pem").sign(IDENTITY, audience="memory")

    assert verifier.verify(token) == IDENTITY
    assert verifier.verify(token) == IDENTITY


@given(
    tenant=st.uuids(), user=st.uuids(), remembers=st.booleans(), scopes=st.frozensets(st.text(max_size=20), max_size=5)
)
@settings(suppress_health_check=SUPPRESSED, max_examples=50)
def test_every_identity_survives_its_token(
    keys: Path, verifier: IdentityVerifier, tenant: UUID, user: UUID, remembers: bool, scopes: frozenset[str]
) -> None:
    identity = Identity(tenant, user, remembers=remembers, scopes=scopes)

    token = IdentitySigner("gateway", keys / "gateway.pem").sign(identity, audience="memory")

    assert verifier.verify(token) == identity


def test_signed_token_is_one_that_any_library_reads(keys: Path) -> None:
    token = IdentitySigner("gateway", keys / "gateway.pem").sign(IDENTITY, audience="memory")

    claims = jwt.decode(token, (keys / "gateway.pub").read_bytes(), algorithms=["EdDSA"], audience="memory")

    assert (claims["iss"], claims["sub"], claims["tenant"]) == (
        "gateway",
        str(IDENTITY.user_id),
        str(IDENTITY.tenant_id),
    )
    assert jwt.get_unverified_header(token) == HEADER


def private_key(file: Path) -> Ed25519PrivateKey:
    """Reads a key with another library than the one that verifies."""
    key = load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def encoded(part: object) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


class Forge:
    """Makes tokens that are right but for one thing."""

    def __init__(self, keys: Path) -> None:
        self.keys = keys
        self.key = private_key(keys / "gateway.pem")
        self.public_pem = (keys / "gateway.pub").read_bytes()

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": "gateway", "aud": "memory", "iat": now, "exp": now + 60, "sub": str(uuid4()),
            "tenant": str(uuid4()), "remembers": True, "scopes": ["chat"],
        }  # fmt: skip
        claims |= changes
        return {key: value for key, value in claims.items() if value is not ...}

    def signed(self, claims: dict[str, Any] | str, header: dict[str, Any] | None = None, key: Any = None) -> str:
        body = f"{encoded(header or HEADER)}.{encoded(claims)}"
        signature = (key or self.key).sign(body.encode())
        return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def hmac(self, secret: bytes, algorithm: str = "HS256") -> str:
        import hashlib
        import hmac

        body = f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(self.claims())}"
        signature = hmac.new(secret, body.encode(), hashlib.sha256).digest()
        return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def unsigned(self, algorithm: str) -> str:
        return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(self.claims())}."

    def rsa(self) -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return jwt.encode(self.claims(), key, algorithm="RS256")

    def with_header(self, **fields: Any) -> str:
        return self.signed(self.claims(), {**HEADER, **fields})

    def repeated_claim(self) -> str:
        text = json.dumps(self.claims())
        return self.signed(text[:-1] + ', "aud": "tool"}')

    def der(self) -> bytes:
        body = b"".join(self.public_pem.splitlines()[1:-1])
        return base64.b64decode(body)


BAD_TOKENS: dict[str, Callable[[Forge], str]] = {
    "empty": lambda f: "",
    "no token at all": lambda f: "gateway",
    "two parts": lambda f: f.signed(f.claims()).rpartition(".")[0],
    "four parts": lambda f: f.signed(f.claims()) + ".x",
    "empty signature": lambda f: f.signed(f.claims()).rpartition(".")[0] + ".",
    "cut signature": lambda f: f.signed(f.claims())[:-8],
    "changed signature": lambda f: f.signed(f.claims())[:-8] + "AAAAAAAA",
    "changed claims": lambda f: ".".join(
        [encoded(HEADER), encoded(f.claims(sub=str(uuid4()))), f.signed(f.claims()).rpartition(".")[2]]
    ),
    "alg none": lambda f: f.unsigned("none"),
    "alg None": lambda f: f.unsigned("None"),
    "alg nOnE": lambda f: f.unsigned("nOnE"),
    "alg none with our signature": lambda f: f.signed(f.claims(), {"alg": "none", "typ": "JWT"}),
    "HS256 with the public PEM": lambda f: f.hmac(f.public_pem),
    "HS256 with the public DER": lambda f: f.hmac(f.der()),
    "HS256 with an empty secret": lambda f: f.hmac(b""),
    "HS512 named": lambda f: f.hmac(f.public_pem, "HS512"),
    "RS256": lambda f: f.rsa(),
    "no alg": lambda f: f.signed(f.claims(), {"typ": "JWT"}),
    "another key": lambda f: f.signed(f.claims(), key=Ed25519PrivateKey.generate()),
    "the orchestrator's key as gateway": lambda f: f.signed(f.claims(), key=private_key(f.keys / "orchestrator.pem")),
    "the gateway's key as orchestrator": lambda f: f.signed(f.claims(iss="orchestrator")),
    "kid": lambda f: f.with_header(kid="gateway"),
    "kid as a path": lambda f: f.with_header(kid="../../gateway.pub"),
    "kid as SQL": lambda f: f.with_header(kid="' OR 1=1 --"),
    "jku": lambda f: f.with_header(jku="https://evil.example/keys"),
    "x5u": lambda f: f.with_header(x5u="https://evil.example/cert"),
    "jwk": lambda f: f.with_header(jwk={"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
    "another typ": lambda f: f.with_header(typ="at+jwt"),
    "no typ": lambda f: f.signed(f.claims(), {"alg": "EdDSA"}),
    "unknown crit": lambda f: f.with_header(crit=["x"], x=1),
    "b64 false": lambda f: f.with_header(crit=["b64"], b64=False),
    "expired": lambda f: f.signed(f.claims(iat=int(time.time()) - 120, exp=int(time.time()) - 60)),
    "no exp": lambda f: f.signed(f.claims(exp=...)),
    "huge exp": lambda f: f.signed(f.claims(exp=2**63)),
    "exp beyond our lifetime": lambda f: f.signed(f.claims(exp=int(time.time()) + 3600)),
    "float exp": lambda f: f.signed(f.claims(exp=time.time() + 30.5)),
    "text exp": lambda f: f.signed(f.claims(exp=str(int(time.time()) + 30))),
    "true exp": lambda f: f.signed(f.claims(exp=True)),
    "infinite exp": lambda f: f.signed(json.dumps(f.claims(exp=float("inf")))),
    "no iat": lambda f: f.signed(f.claims(iat=...)),
    "future iat": lambda f: f.signed(f.claims(iat=int(time.time()) + 40, exp=int(time.time()) + 90)),
    "future nbf": lambda f: f.signed(f.claims(nbf=int(time.time()) + 40)),
    "text nbf": lambda f: f.signed(f.claims(nbf="0")),
    "wrong aud": lambda f: f.signed(f.claims(aud="tool")),
    "no aud": lambda f: f.signed(f.claims(aud=...)),
    "aud list": lambda f: f.signed(f.claims(aud=["memory", "tool"])),
    "repeated aud": lambda f: f.repeated_claim(),
    "unknown iss": lambda f: f.signed(f.claims(iss="memory")),
    "iss as a path": lambda f: f.signed(f.claims(iss="../keys/gateway")),
    "iss list": lambda f: f.signed(f.claims(iss=["gateway"])),
    "no iss": lambda f: f.signed(f.claims(iss=...)),
    "no sub": lambda f: f.signed(f.claims(sub=...)),
    "sub is no id": lambda f: f.signed(f.claims(sub="anna")),
    "sub is a number": lambda f: f.signed(f.claims(sub=7)),
    "no tenant": lambda f: f.signed(f.claims(tenant=...)),
    "tenant star": lambda f: f.signed(f.claims(tenant="*")),
    "no scopes": lambda f: f.signed(f.claims(scopes=...)),
    "scopes as text": lambda f: f.signed(f.claims(scopes="admin")),
    "scopes of numbers": lambda f: f.signed(f.claims(scopes=[1])),
    "remembers as text": lambda f: f.signed(f.claims(remembers="no")),
    "run_id null": lambda f: f.signed(f.claims(run_id=None)),
    "claims are a list": lambda f: f.signed("[]"),
    "claims are no JSON": lambda f: f.signed("{"),
    "too long": lambda f: f.signed(f.claims(scopes=["x" * 5000])),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_bad_token_is_refused(keys: Path, verifier: IdentityVerifier, name: str) -> None:
    token = BAD_TOKENS[name](Forge(keys))

    for _ in range(2):
        with pytest.raises(UnauthenticatedError) as caught:
            verifier.verify(token)

        assert caught.value.message == "the identity token is not valid"


def test_the_forge_makes_good_tokens_but_for_what_it_changes(keys: Path, verifier: IdentityVerifier) -> None:
    forge = Forge(keys)

    assert verifier.verify(forge.signed(forge.claims())).scopes == {"chat"}


@given(token=st.text(max_size=300))
@settings(suppress_health_check=SUPPRESSED)
def test_any_text_is_refused_as_unauthenticated(verifier: IdentityVerifier, token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        verifier.verify(token)


def test_issuer_that_is_not_asked_for_is_refused(keys: Path) -> None:
    token = IdentitySigner("orchestrator", keys / "orchestrator.pem").sign(IDENTITY, audience="orchestrator")

    with pytest.raises(UnauthenticatedError):
        IdentityVerifier(keys, "orchestrator", issuers=["gateway"]).verify(token)


def test_cached_token_is_refused_after_its_end(keys: Path, verifier: IdentityVerifier) -> None:
    token = IdentitySigner("gateway", keys / "gateway.pem").sign(IDENTITY, audience="memory")
    verifier.verify(token)

    with mock.patch("time.time", return_value=time.time() + 67), pytest.raises(UnauthenticatedError):
        verifier.verify(token)


def test_replaced_key_ends_the_tokens_of_the_old_one(keys: Path) -> None:
    verifier = IdentityVerifier(keys, "memory")
    signer = IdentitySigner("gateway", keys / "gateway.pem")
    old = signer.sign(IDENTITY, audience="memory")
    verifier.verify(old)
    (keys / "gateway.pem").unlink()
    generate_key_pair(keys / "gateway.pem", keys / "gateway.pub")

    with (
        mock.patch.object(verifier_module, "RECHECK_S", 0.0),
        mock.patch.object(signer_module, "RECHECK_S", 0.0),
    ):
        verifier._recheck_at = signer._recheck_at = 0.0
        new = signer.sign(IDENTITY, audience="memory")

        assert verifier.verify(new) == IDENTITY
        with pytest.raises(UnauthenticatedError):
            verifier.verify(old)


def test_removed_key_ends_its_tokens(keys: Path, verifier: IdentityVerifier) -> None:
    token = IdentitySigner("gateway", keys / "gateway.pem").sign(IDENTITY, audience="memory")
    verifier.verify(token)
    (keys / "gateway.pub").unlink()
    verifier._recheck_at = 0.0

    with pytest.raises(UnauthenticatedError):
        verifier.verify(token)


def test_key_that_cannot_be_read_leaves_the_old_one_in_force(keys: Path, verifier: IdentityVerifier) -> None:
    signer = IdentitySigner("gateway", keys / "gateway.pem")
    token = signer.sign(IDENTITY, audience="memory")
    verifier.verify(token)
    for file in ("gateway.pub", "gateway.pem"):
        (keys / file).write_text("half a ke")
    verifier._recheck_at = signer._recheck_at = 0.0

    assert verifier.verify(signer.sign(Identity(uuid4(), uuid4()), audience="memory")).remembers
    assert verifier.verify(token) == IDENTITY


def test_key_that_comes_later_is_found(tmp_path: Path) -> None:
    verifier = IdentityVerifier(tmp_path, "memory")
    generate_key_pair(tmp_path / "gateway.pem", tmp_path / "gateway.pub")

    token = IdentitySigner("gateway", tmp_path / "gateway.pem").sign(IDENTITY, audience="memory")

    assert verifier.verify(token) == IDENTITY


def test_token_is_used_again_until_half_its_life_is_over(keys: Path) -> None:
    signer = IdentitySigner("gateway", keys / "gateway.pem")
    first = signer.sign(IDENTITY, audience="memory")

    with mock.patch("time.time", return_value=time.time() + 29):
        assert signer.sign(IDENTITY, audience="memory") == first
    with mock.patch("time.time", return_value=time.time() + 31):
        assert signer.sign(IDENTITY, audience="memory") != first


def test_each_audience_gets_its_own_token(keys: Path, verifier: IdentityVerifier) -> None:
    signer = IdentitySigner("gateway", keys / "gateway.pem")

    for_tool = signer.sign(IDENTITY, audience="tool")

    assert signer.sign(IDENTITY, audience="memory") != for_tool
    with pytest.raises(UnauthenticatedError):
        verifier.verify(for_tool)


def test_caches_are_bounded(keys: Path) -> None:
    signer, verifier = IdentitySigner("gateway", keys / "gateway.pem"), IdentityVerifier(keys, "memory")

    with (
        mock.patch.object(signer_module, "CACHED_TOKENS", 3),
        mock.patch.object(verifier_module, "CACHED_IDENTITIES", 3),
    ):
        for _ in range(10):
            verifier.verify(signer.sign(Identity(uuid4(), uuid4()), audience="memory"))

    assert (len(signer._tokens), len(verifier._identities)) == (3, 3)


def test_private_key_is_for_its_owner_only_and_never_overwritten(keys: Path) -> None:
    assert os.stat(keys / "gateway.pem").st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        generate_key_pair(keys / "gateway.pem", keys / "gateway.pub")


def test_signer_refuses_a_name_that_is_no_issuer(keys: Path) -> None:
    with pytest.raises(ValueError, match="no issuer"):
        IdentitySigner("memory", keys / "gateway.pem")


def test_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "gateway.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    with pytest.raises(ValueError, match="not an Ed25519"):
        IdentitySigner("gateway", tmp_path / "gateway.pem")
