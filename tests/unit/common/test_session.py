"""Sessions: whose seals are opened, and the many that are not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
from uuid import UUID, uuid4

import pytest
from fakes.keys import replace_keys
from flotilla_common.errors import UnauthenticatedError, UnavailableError
from flotilla_common.identity import (
    CallerSession,
    Identity,
    IdentitySigner,
    IdentityVerifier,
    SealedCall,
    ServerSession,
)
from flotilla_common.identity import verifier as verifier_module
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.common.test_identity import IDENTITY, SUPPRESSED
from unit.common.test_session_tokens import NO_KEYS

CALL = SealedCall(7, "/flotilla.memory.v1.MemoryService/LoadContext", b"request")


def begun(signer: IdentitySigner, verifier: IdentityVerifier) -> tuple[CallerSession, ServerSession]:
    """Returns both ends of a new session."""
    caller = signer.begin_session(audience="memory")
    server = verifier.begin_session(caller.token)
    caller.agree(server.answer)
    return caller, server


def assert_refused(server: ServerSession, seal: bytes, call: SealedCall = CALL) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        server.open(seal, call)

    assert caught.value.reason == "identity_invalid"


@given(
    tenant=st.uuids(),
    user=st.uuids(),
    remembers=st.booleans(),
    scopes=st.frozensets(st.text(max_size=20), max_size=5),
    run_id=st.none() | st.uuids(),
)
@settings(suppress_health_check=SUPPRESSED, max_examples=100)
def test_every_identity_survives_its_seal(
    signer: IdentitySigner,
    verifier: IdentityVerifier,
    tenant: UUID,
    user: UUID,
    remembers: bool,
    scopes: frozenset[str],
    run_id: UUID | None,
) -> None:
    caller, server = begun(signer, verifier)
    identity = Identity(tenant, user, remembers=remembers, scopes=scopes, run_id=run_id)

    assert server.open(caller.seal(identity, CALL), CALL) == identity


@given(number=st.integers(0, 2**64 - 1), method=st.text(max_size=80), request_=st.binary(max_size=300))
@settings(suppress_health_check=SUPPRESSED)
def test_every_call_can_be_sealed(
    signer: IdentitySigner, verifier: IdentityVerifier, number: int, method: str, request_: bytes
) -> None:
    caller, server = begun(signer, verifier)
    call = SealedCall(number, method, request_)

    assert server.open(caller.seal(IDENTITY, call), call) == IDENTITY


def test_one_session_carries_many_identities(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, server = begun(signer, verifier)
    calls = {SealedCall(number, CALL.method, b""): Identity(uuid4(), uuid4()) for number in range(1, 100)}

    seals = {call: caller.seal(identity, call) for call, identity in calls.items()}

    assert {call: server.open(seal, call) for call, seal in seals.items()} == calls


def test_seal_with_any_bit_changed_is_refused(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, server = begun(signer, verifier)
    seal = caller.seal(IDENTITY, CALL)

    for bit in range(len(seal) * 8):
        changed = bytearray(seal)
        changed[bit // 8] ^= 1 << bit % 8
        assert_refused(server, bytes(changed))


def test_seal_of_any_other_length_is_refused(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, server = begun(signer, verifier)
    seal = caller.seal(IDENTITY, CALL)

    for length in range(len(seal)):
        assert_refused(server, seal[:length])
    assert_refused(server, seal + b"\0")


@given(seal=st.binary(max_size=300))
@settings(suppress_health_check=SUPPRESSED)
def test_any_bytes_are_refused(signer: IdentitySigner, verifier: IdentityVerifier, seal: bytes) -> None:
    _, server = begun(signer, verifier)

    assert_refused(server, seal)


@pytest.mark.parametrize(
    "call",
    [
        SealedCall(CALL.number + 1, CALL.method, CALL.request),
        SealedCall(CALL.number, CALL.method.replace("Load", "Save"), CALL.request),
        SealedCall(CALL.number, CALL.method, b"Request"),
        SealedCall(CALL.number, CALL.method, b""),
        SealedCall(CALL.number, CALL.method + "r", b"equest"),
    ],
    ids=["number", "method", "request", "no request", "border of method and request"],
)
def test_seal_of_another_call_is_refused(signer: IdentitySigner, verifier: IdentityVerifier, call: SealedCall) -> None:
    caller, server = begun(signer, verifier)

    assert_refused(server, caller.seal(IDENTITY, CALL), call)


def test_seal_of_another_caller_is_refused(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    _, server = begun(signer, verifier)
    other, _ = begun(signer, verifier)

    assert_refused(server, other.seal(IDENTITY, CALL))


def test_seal_for_another_server_is_refused(keys: Path, signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, _ = begun(signer, verifier)
    other = IdentityVerifier(keys, "memory").begin_session(caller.token)

    assert_refused(other, caller.seal(IDENTITY, CALL))


def test_copied_token_opens_no_seal_of_its_owner(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, server = begun(signer, verifier)
    copy = verifier.begin_session(caller.token)
    seal = caller.seal(IDENTITY, CALL)

    assert_refused(copy, seal)
    assert server.open(seal, CALL) == IDENTITY


def test_who_copies_the_token_cannot_seal(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, server = begun(signer, verifier)
    thief = CallerSession(lambda _: caller.token, lasts_s=30)
    thief.agree(server.answer)

    assert_refused(server, thief.seal(IDENTITY, CALL))


def assert_over(server: ServerSession, seal: bytes) -> None:
    with pytest.raises(UnavailableError) as caught:
        server.open(seal, CALL)

    assert caught.value.reason == "session_over"


@contextmanager
def later(seconds: float) -> Iterator[None]:
    """Sets all clocks forward."""
    with (
        mock.patch("time.time", return_value=time.time() + seconds),
        mock.patch("time.monotonic", return_value=time.monotonic() + seconds),
    ):
        yield


@pytest.mark.parametrize("ahead_s", [-4, 62])
def test_session_lasts_with_a_server_whose_clock_is_off(
    signer: IdentitySigner, verifier: IdentityVerifier, ahead_s: float
) -> None:
    caller = signer.begin_session(audience="memory")
    with mock.patch("time.time", return_value=time.time() + ahead_s):
        server = verifier.begin_session(caller.token)
        caller.agree(server.answer)

        assert server.open(caller.seal(IDENTITY, CALL), CALL) == IDENTITY


def test_session_is_over_when_its_token_expires(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, server = begun(signer, verifier)
    seal = caller.seal(IDENTITY, CALL)

    with later(59.5):
        assert server.open(seal, CALL) == IDENTITY
    with later(60):
        assert_over(server, seal)


@pytest.mark.parametrize("issuer", ["gateway", "orchestrator"])
def test_session_is_over_when_any_issuers_key_is_replaced(
    keys: Path, signer: IdentitySigner, verifier: IdentityVerifier, issuer: str
) -> None:
    caller, server = begun(signer, verifier)
    seal = caller.seal(IDENTITY, CALL)
    replace_keys(keys, "pub", issuer=issuer)

    with later(verifier_module.RECHECK_S):
        assert_over(server, seal)


@pytest.mark.parametrize("set_back_s", [0, 3600])
def test_session_is_over_when_its_issuers_key_is_removed_whatever_the_clock_does(
    keys: Path, signer: IdentitySigner, verifier: IdentityVerifier, set_back_s: float
) -> None:
    caller, server = begun(signer, verifier)
    seal = caller.seal(IDENTITY, CALL)
    (keys / "gateway.pub").unlink()

    with later(verifier_module.RECHECK_S), mock.patch("time.time", return_value=time.time() - set_back_s):
        assert_over(server, seal)


def test_session_goes_on_while_keys_stay(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, server = begun(signer, verifier)

    with later(verifier_module.RECHECK_S):
        assert server.open(caller.seal(IDENTITY, CALL), CALL) == IDENTITY


def test_session_goes_on_while_a_key_cannot_be_read(
    keys: Path, signer: IdentitySigner, verifier: IdentityVerifier
) -> None:
    caller, server = begun(signer, verifier)
    (keys / "gateway.pub").write_text("half a ke")

    with later(verifier_module.RECHECK_S):
        assert server.open(caller.seal(IDENTITY, CALL), CALL) == IDENTITY


def test_session_that_begins_after_a_rotation_is_of_the_new_key(
    keys: Path, signer: IdentitySigner, verifier: IdentityVerifier
) -> None:
    old = signer.begin_session(audience="memory").token
    verifier.begin_session(old)
    replace_keys(keys, "pem", "pub")

    with later(verifier_module.RECHECK_S):
        caller, server = begun(signer, verifier)

        assert server.open(caller.seal(IDENTITY, CALL), CALL) == IDENTITY
        with pytest.raises(UnauthenticatedError):
            verifier.begin_session(old)


def test_caller_cannot_seal_before_the_answer(signer: IdentitySigner) -> None:
    caller = signer.begin_session(audience="memory")

    assert not caller.can_seal
    with pytest.raises(ValueError, match="has not answered"):
        caller.seal(IDENTITY, CALL)


@pytest.mark.parametrize("name", NO_KEYS)
def test_caller_cannot_seal_after_an_answer_that_is_no_key(signer: IdentitySigner, name: str) -> None:
    caller = signer.begin_session(audience="memory")

    caller.agree(NO_KEYS[name])

    assert not caller.can_seal
    with pytest.raises(ValueError, match="has not answered"):
        caller.seal(IDENTITY, CALL)


def test_caller_can_seal_until_half_its_tokens_life_is_over(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    with mock.patch("flotilla_common.identity.session.time.monotonic") as clock:
        clock.return_value = 1000.0
        caller, _ = begun(signer, verifier)

        clock.return_value = 1029.9
        assert caller.can_seal
        clock.return_value = 1030.0
        assert not caller.can_seal


def test_each_session_has_keys_of_its_own(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    caller, server = begun(signer, verifier)
    other_caller, other_server = begun(signer, verifier)

    assert caller.token != other_caller.token
    assert server.answer != other_server.answer
