"""flotilla.evaluator.v1 on a real server with a real store."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import TypeAlias
from uuid import UUID, uuid4

import grpc
import pytest
from contract.leaf_service import code_of, person
from flotilla.common.v1 import message_pb2
from flotilla.evaluator.v1 import evaluator_service_pb2 as pb
from flotilla.evaluator.v1 import evaluator_service_pb2_grpc as pb_grpc
from flotilla_common.errors import InvalidArgumentError, UnauthenticatedError
from flotilla_common.identity import Identity, IdentitySigner
from flotilla_common.request import acting_as
from flotilla_common.rpc.batch import error_in
from prometheus_client import CollectorRegistry

Evaluator: TypeAlias = "pb_grpc.EvaluatorServiceAsyncStub"


def observation(*, run_id: UUID | None = None, agent: str = "assistant", minute: int = 0) -> pb.Observation:
    message = pb.Observation(
        run_id=str(run_id or uuid4()),
        agent=agent,
        release="sha256:1",
        messages=[
            message_pb2.Message(id="1", role=message_pb2.MESSAGE_ROLE_HUMAN, content="What is 17 % of 2,349?"),
            message_pb2.Message(
                id="2",
                role=message_pb2.MESSAGE_ROLE_ASSISTANT,
                tool_calls=[
                    message_pb2.ToolCall(id="c", name="calculator", arguments_json=b'{"expression":"17 % of 2349"}')
                ],
            ),
            message_pb2.Message(
                id="3", role=message_pb2.MESSAGE_ROLE_TOOL, content="399.33", tool_call_id="c", name="calculator"
            ),
            message_pb2.Message(id="4", role=message_pb2.MESSAGE_ROLE_ASSISTANT, content="It is 399.33."),
        ],
        usage=[message_pb2.ModelUsage(model="flotilla-dev", input_tokens=20, output_tokens=9, cost_micro_usd=3)],
    )
    message.duration.FromMilliseconds(250)
    message.finish_time.FromJsonString(f"2025-03-01T12:{minute:02}:00Z")
    return message


async def test_observe_stores_and_scores(evaluator: Evaluator, registry: CollectorRegistry) -> None:
    shown = observation()
    with acting_as(person()):
        response = await evaluator.Observe(pb.ObserveRequest(observation=shown))
        kept = await evaluator.GetObservation(pb.GetObservationRequest(run_id=shown.run_id))

    assert response.created
    assert {score.key: score.value for score in response.scores} == {
        "answered": 1,
        "grounded": 1,
        "tools_succeeded": 1,
    }
    assert all(score.explanation for score in response.scores)
    assert kept.observation == shown
    assert list(kept.scores) == list(response.scores)
    assert registry.get_sample_value("flotilla_evaluator_observations_total", {"result": "new"}) == 1


async def test_observe_twice_changes_nothing(evaluator: Evaluator) -> None:
    first = observation()
    second = observation(run_id=UUID(first.run_id))
    second.messages[-1].content = ""
    with acting_as(person()):
        responses = [await evaluator.Observe(pb.ObserveRequest(observation=each)) for each in (first, second)]
        kept = await evaluator.GetObservation(pb.GetObservationRequest(run_id=first.run_id))

    assert [response.created for response in responses] == [True, False]
    assert list(responses[1].scores) == list(responses[0].scores)
    assert kept.observation == first


def _wrong_duration() -> pb.Observation:
    wrong = observation()
    wrong.duration.FromMilliseconds(-1)
    return wrong


@pytest.mark.parametrize(
    "wrong",
    [
        pb.Observation(),
        pb.Observation(agent="assistant"),
        pb.Observation(run_id="7", agent="assistant"),
        observation(agent=""),
        _wrong_duration(),
    ],
    ids=["nothing", "no run", "run", "no agent", "duration"],
)
async def test_observe_of_a_wrong_run_is_invalid(evaluator: Evaluator, wrong: pb.Observation) -> None:
    with acting_as(person()):
        call = evaluator.Observe(pb.ObserveRequest(observation=wrong))

        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT


def shown_by(signer: IdentitySigner, runs: Mapping[Identity, pb.Observation]) -> pb.BatchObserveRequest:
    return pb.BatchObserveRequest(
        observations=[
            pb.RunObservation(
                identity_token=signer.sign(whom, audience="evaluator"), request=pb.ObserveRequest(observation=shown)
            )
            for whom, shown in runs.items()
        ]
    )


async def runs_seen_by(evaluator: Evaluator, whom: Identity) -> list[str]:
    with acting_as(whom):
        page = await evaluator.ListObservations(pb.ListObservationsRequest())
    return [each.observation.run_id for each in page.observations]


async def test_batch_of_runs_is_stored_for_each_runs_own_person(evaluator: Evaluator, signer: IdentitySigner) -> None:
    caller, ann, bob = person(), person(), person()
    of_ann, of_bob = observation(), observation()
    batch = shown_by(signer, {ann: of_ann, bob: of_bob})
    with acting_as(caller):
        response = await evaluator.BatchObserve(batch)
        again = await evaluator.BatchObserve(batch)

    assert [(result.created, result.error_status) for result in response.results] == [(True, b"")] * 2
    assert [(result.created, result.error_status) for result in again.results] == [(False, b"")] * 2
    assert await runs_seen_by(evaluator, ann) == [of_ann.run_id]
    assert await runs_seen_by(evaluator, bob) == [of_bob.run_id]
    assert await runs_seen_by(evaluator, caller) == []


async def test_run_that_fails_harms_no_other_of_its_batch(evaluator: Evaluator, signer: IdentitySigner) -> None:
    ann = person()
    batch = shown_by(signer, {ann: observation(), person(): observation(agent=""), person(): pb.Observation()})
    batch.observations.add(identity_token="forged", request=pb.ObserveRequest(observation=observation()))
    with acting_as(person()):
        response = await evaluator.BatchObserve(batch)

    assert [type(error_in(result.error_status)) for result in response.results] == [
        NoneType,
        InvalidArgumentError,
        InvalidArgumentError,
        UnauthenticatedError,
    ]
    assert len(await runs_seen_by(evaluator, ann)) == 1


@pytest.mark.parametrize("count", [0, 101])
async def test_batch_of_none_or_too_many_runs_is_invalid(evaluator: Evaluator, count: int) -> None:
    with acting_as(person()):
        call = evaluator.BatchObserve(pb.BatchObserveRequest(observations=[pb.RunObservation()] * count))

        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("run_id", "code"), [("7", "INVALID_ARGUMENT"), (str(uuid4()), "NOT_FOUND")])
async def test_get_observation_that_is_not_there(evaluator: Evaluator, run_id: str, code: str) -> None:
    with acting_as(person()):
        call = evaluator.GetObservation(pb.GetObservationRequest(run_id=run_id))

        assert (await code_of(call)).name == code


async def test_list_observations_pages_newest_first(evaluator: Evaluator) -> None:
    with acting_as(person()):
        for minute in range(5):
            agent = "assistant" if minute else "research"
            await evaluator.Observe(pb.ObserveRequest(observation=observation(agent=agent, minute=minute)))
        seen: list[int] = []
        token = ""
        while True:
            page = await evaluator.ListObservations(
                pb.ListObservationsRequest(agent="assistant", page_size=3, page_token=token)
            )
            seen += [each.observation.finish_time.ToDatetime().minute for each in page.observations]
            assert all(len(each.scores) == 3 for each in page.observations)
            if not (token := page.next_page_token):
                break

    assert seen == [4, 3, 2, 1]


@pytest.mark.parametrize(
    "request_",
    [
        pb.ListObservationsRequest(page_size=-1),
        pb.ListObservationsRequest(page_size=201),
        pb.ListObservationsRequest(page_token="nonsense"),
    ],
    ids=str,
)
async def test_list_observations_with_a_wrong_page_is_invalid(
    evaluator: Evaluator, request_: pb.ListObservationsRequest
) -> None:
    with acting_as(person()):
        assert await code_of(evaluator.ListObservations(request_)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_only_the_person_and_administrators_of_the_tenant_see_a_run(evaluator: Evaluator) -> None:
    somebody, shown = person(), observation()
    with acting_as(somebody):
        await evaluator.Observe(pb.ObserveRequest(observation=shown))

    others = {
        "colleague": person(tenant_id=somebody.tenant_id),
        "stranger": Identity(uuid4(), somebody.user_id),
        "foreign administrator": person(scopes=("admin",)),
    }
    for other in others.values():
        with acting_as(other):
            get = evaluator.GetObservation(pb.GetObservationRequest(run_id=shown.run_id))
            assert await code_of(get) is grpc.StatusCode.NOT_FOUND
            assert not (await evaluator.ListObservations(pb.ListObservationsRequest())).observations
    with acting_as(others["colleague"]):
        again = await evaluator.Observe(pb.ObserveRequest(observation=shown))
        assert (again.created, len(again.scores)) == (False, 0)
    with acting_as(person(tenant_id=somebody.tenant_id, scopes=("admin",))):
        assert len((await evaluator.ListObservations(pb.ListObservationsRequest())).observations) == 1


async def test_caller_without_identity_is_unauthenticated(evaluator: Evaluator) -> None:
    call = evaluator.ListObservations(pb.ListObservationsRequest())

    assert await code_of(call) is grpc.StatusCode.UNAUTHENTICATED
