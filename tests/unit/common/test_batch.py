"""Each request of a batch is served for whom its own token names, and fails by itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from flotilla_common.errors import (
    FlotillaError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from flotilla_common.identity import Identity, IdentitySigner, IdentityVerifier, generate_key_pair
from flotilla_common.request import acting_as, current_identity, current_request
from flotilla_common.rpc.batch import MOST_ITEMS, error_in, pack_error, serve_each


@dataclass(frozen=True)
class Item:
    identity_token: str
    name: str = ""


@pytest.fixture
def signer(keys: Path) -> IdentitySigner:
    return IdentitySigner("orchestrator", keys / "orchestrator.pem")


def somebody() -> Identity:
    return Identity(uuid4(), uuid4(), run_id=uuid4())


async def test_item_is_served_for_whom_its_token_names(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    people, caller = [somebody(), somebody()], somebody()

    async def serve(item: Item) -> tuple[Identity, str]:
        return current_identity(), current_request().request_id

    with acting_as(caller, idempotency_key="the call's"):
        items = [Item(signer.sign(each, audience="memory")) for each in people]
        served = await serve_each(items, serve, verifier=verifier, field="items")
        after = current_identity()

    assert served == [(each, str(each.run_id)) for each in people]
    assert after == caller


async def test_item_that_fails_harms_no_other(
    signer: IdentitySigner, verifier: IdentityVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(item: Item) -> str:
        if item.name == "known":
            raise InvalidArgumentError("no", field="name")
        if item.name == "unforeseen":
            raise RuntimeError("a secret")
        return item.name

    token = signer.sign(somebody(), audience="memory")
    items = [Item(token, "good"), Item(token, "known"), Item("forged"), Item(token, "unforeseen"), Item(token, "too")]
    with acting_as(somebody()), caplog.at_level(logging.ERROR):
        outcomes = await serve_each(items, serve, verifier=verifier, field="items")

    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [str, InvalidArgumentError, UnauthenticatedError, InternalError, str]
    assert "secret" not in str(outcomes[3])
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize("count", [0, 101])
async def test_batch_of_none_or_too_many_is_invalid(verifier: IdentityVerifier, count: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await serve_each([Item("")] * count, _nothing, verifier=verifier, field="items")

    assert caught.value.field == "items"


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgumentError("no text", field="text", reason="empty"),
        ResourceExhaustedError("spent", retry_after_s=1.5),
        InternalError("internal error"),
    ],
)
def test_error_survives_its_way_through_a_result(error: FlotillaError) -> None:
    read = error_in(pack_error(error))

    assert type(read) is type(error)
    assert read is not None
    assert (read.message, read.reason, read.field, read.retry_after_s) == (
        error.message,
        error.reason,
        error.field,
        error.retry_after_s,
    )


def test_result_without_error_tells_of_none() -> None:
    assert error_in(b"") is None


async def test_one_token_names_whom_all_items_are_for(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    people = [Identity(uuid4(), uuid4(), remembers=number % 2 == 0, run_id=uuid4()) for number in range(MOST_ITEMS)]

    async def serve(item: Item) -> tuple[Identity, str]:
        return current_identity(), item.name

    with acting_as(somebody()):
        served = await serve_each(
            [Item("", str(number)) for number in range(MOST_ITEMS)],
            serve,
            verifier=verifier,
            field="items",
            identities_token=signer.sign_all(people, audience="memory"),
        )

    assert served == [(each, str(number)) for number, each in enumerate(people)]


@pytest.mark.parametrize("named", [0, 1, 3])
async def test_token_of_another_number_of_identities_is_invalid(
    signer: IdentitySigner, verifier: IdentityVerifier, named: int
) -> None:
    token = signer.sign_all([somebody() for _ in range(named)], audience="memory")

    with acting_as(somebody()), pytest.raises(InvalidArgumentError) as caught:
        await serve_each([Item(""), Item("")], _nothing, verifier=verifier, field="items", identities_token=token)

    assert caught.value.field == "identities_token"


@pytest.mark.parametrize("kind", ["forged", "another's key", "another audience", "one identity", "a session", "long"])
async def test_batch_whose_token_is_not_good_is_refused_as_a_whole(
    signer: IdentitySigner, verifier: IdentityVerifier, tmp_path: Path, kind: str
) -> None:
    generate_key_pair(tmp_path / "forged", tmp_path / "forged.pub")
    whom = somebody()
    tokens = {
        "forged": "a.b.c",
        "another's key": IdentitySigner("orchestrator", tmp_path / "forged").sign_all([whom], audience="memory"),
        "another audience": signer.sign_all([whom], audience="evaluator"),
        "one identity": signer.sign(whom, audience="memory"),
        "a session": signer.begin_session(audience="memory").token,
        "long": signer.sign_all([somebody() for _ in range(3000)], audience="memory"),
    }

    with acting_as(whom), pytest.raises(UnauthenticatedError):
        await serve_each([Item("")], _nothing, verifier=verifier, field="items", identities_token=tokens[kind])


def test_token_of_many_identities_is_nobodys_own(signer: IdentitySigner, verifier: IdentityVerifier) -> None:
    with pytest.raises(UnauthenticatedError):
        verifier.verify(signer.sign_all([somebody()], audience="memory"))


async def _nothing(item: Item) -> None:
    raise AssertionError("nothing is served")
