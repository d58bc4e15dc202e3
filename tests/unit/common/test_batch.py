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
from flotilla_common.rpc.batch import error_in, pack_error, serve_each


@dataclass(frozen=True)
class Item:
    identity_token: str
    name: str = ""


@pytest.fixture
def signer(tmp_path: Path) -> IdentitySigner:
    generate_key_pair(tmp_path / "orchestrator.pem", tmp_path / "orchestrator.pub")
    return IdentitySigner("orchestrator", tmp_path / "orchestrator.pem")


@pytest.fixture
def verifier(signer: IdentitySigner, tmp_path: Path) -> IdentityVerifier:
    return IdentityVerifier(tmp_path, "memory")


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
    async def serve(item: Item) -> None:
        raise AssertionError("nothing is served")

    with pytest.raises(InvalidArgumentError) as caught:
        await serve_each([Item("")] * count, serve, verifier=verifier, field="items")

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
