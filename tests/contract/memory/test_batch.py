"""Batches of turns: each is for its own person and fails by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from contract.leaf_service import code_of, person
from contract.memory.calls import Memory, turn
from contract.memory.conftest import WordEmbeddings
from flotilla.memory.v1 import memory_service_pb2 as pb
from flotilla_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    UnauthenticatedError,
    UnavailableError,
)
from flotilla_common.identity import Identity, IdentitySigner, generate_key_pair
from flotilla_common.request import acting_as
from flotilla_common.rpc.batch import error_in


def commits(signer: IdentitySigner, turns: Mapping[Identity, pb.CommitTurnRequest]) -> pb.BatchCommitTurnsRequest:
    return pb.BatchCommitTurnsRequest(
        commits=[
            pb.TurnCommit(identity_token=signer.sign(whom, audience="memory"), request=request)
            for whom, request in turns.items()
        ]
    )


async def texts_of(memory: Memory, whom: Identity) -> list[str]:
    with acting_as(whom):
        return [found.text for found in (await memory.ListMemories(pb.ListMemoriesRequest())).memories]


async def test_batch_of_turns_is_stored_for_each_turns_own_person(memory: Memory, signer: IdentitySigner) -> None:
    caller, ann, bob = person(), person(), person()
    carl = person(tenant_id=ann.tenant_id)
    batch = commits(signer, {ann: turn("I am Ann."), bob: turn("I am Bob."), carl: turn("I am Carl.")})
    with acting_as(caller):
        response = await memory.BatchCommitTurns(batch)
        again = await memory.BatchCommitTurns(batch)

    assert [result.created for result in response.results] == [True, True, True]
    assert [(result.created, result.error_status) for result in again.results] == [(False, b"")] * 3
    assert await texts_of(memory, ann) == ["User: I am Ann. / Assistant: Noted."]
    assert await texts_of(memory, bob) == ["User: I am Bob. / Assistant: Noted."]
    assert await texts_of(memory, carl) == ["User: I am Carl. / Assistant: Noted."]
    assert await texts_of(memory, caller) == []


async def test_batch_of_turns_makes_one_model_call(
    memory: Memory, signer: IdentitySigner, models: WordEmbeddings
) -> None:
    with acting_as(person()):
        await memory.BatchCommitTurns(commits(signer, {person(): turn(f"I am {number}.") for number in range(20)}))

    assert (models.calls, len(models.texts)) == (1, 20)


async def test_turn_that_fails_harms_no_other_of_its_batch(memory: Memory, signer: IdentitySigner) -> None:
    ann, bob = person(), person()
    nobody = Identity(ann.tenant_id, ann.user_id, remembers=False)
    batch = commits(
        signer,
        {ann: turn("I am Ann."), person(): pb.CommitTurnRequest(run_id="7"), nobody: turn("Hello."), bob: turn("Bob.")},
    )
    with acting_as(person()):
        response = await memory.BatchCommitTurns(batch)

    errors = [error_in(result.error_status) for result in response.results]
    assert [None if error is None else (type(error), error.field or error.reason) for error in errors] == [
        None,
        (InvalidArgumentError, "run_id"),
        (FailedPreconditionError, "no_person"),
        None,
    ]
    assert [result.created for result in response.results] == [True, False, False, True]


async def test_turn_of_a_batch_fails_alone_when_its_token_is_not_good(
    memory: Memory, signer: IdentitySigner, tmp_path: Path
) -> None:
    ann, caller = person(), person()
    generate_key_pair(tmp_path / "forged", tmp_path / "forged.pub")
    tokens = {
        "good": signer.sign(ann, audience="memory"),
        "missing": "",
        "another's key": IdentitySigner("orchestrator", tmp_path / "forged").sign(ann, audience="memory"),
        "wrong audience": signer.sign(ann, audience="tool"),
    }
    batch = pb.BatchCommitTurnsRequest(
        commits=[pb.TurnCommit(identity_token=token, request=turn("I am Ann.")) for token in tokens.values()]
    )
    with acting_as(caller):
        response = await memory.BatchCommitTurns(batch)

    failed = [isinstance(error_in(result.error_status), UnauthenticatedError) for result in response.results]
    assert dict(zip(tokens, failed, strict=True)) == {**dict.fromkeys(tokens, True), "good": False}
    assert len(await texts_of(memory, ann)) == 1
    assert await texts_of(memory, caller) == []


@pytest.mark.parametrize("failure", ["is_away", "hangs"])
async def test_batch_of_turns_without_embeddings_is_unavailable_turn_by_turn(
    memory: Memory, signer: IdentitySigner, models: WordEmbeddings, failure: str
) -> None:
    setattr(models, failure, True)
    with acting_as(person()):
        response = await memory.BatchCommitTurns(commits(signer, {person(): turn("a"), person(): turn("b")}))

    assert [type(error_in(result.error_status)) for result in response.results] == [UnavailableError] * 2


@pytest.mark.parametrize("count", [0, 101])
async def test_batch_of_none_or_too_many_turns_is_invalid(memory: Memory, count: int) -> None:
    with acting_as(person()):
        code = await code_of(memory.BatchCommitTurns(pb.BatchCommitTurnsRequest(commits=[pb.TurnCommit()] * count)))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
