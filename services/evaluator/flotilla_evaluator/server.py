"""The edge of flotilla.evaluator.v1: requests to values, values to responses; decides nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flotilla.common.v1 import message_pb2
from flotilla.evaluator.v1 import evaluator_service_pb2 as pb
from flotilla.evaluator.v1 import evaluator_service_pb2_grpc as pb_grpc
from flotilla_common.errors import FlotillaError
from flotilla_common.identity import IdentityVerifier
from flotilla_common.request import current_identity
from flotilla_common.rpc.batch import pack_error, serve_each
from flotilla_common.rpc.fields import read_id, read_page_token, read_span, read_time, write_page_token
from grpc.aio import ServicerContext

from flotilla_evaluator.model import Message, Observation, PagePosition, Role, Score, ScoredObservation, ToolCall, Usage
from flotilla_evaluator.service import EvaluatorService

Context = ServicerContext[Any, Any]

_TO_ROLE = {
    message_pb2.MESSAGE_ROLE_SYSTEM: Role.SYSTEM,
    message_pb2.MESSAGE_ROLE_HUMAN: Role.HUMAN,
    message_pb2.MESSAGE_ROLE_ASSISTANT: Role.ASSISTANT,
    message_pb2.MESSAGE_ROLE_TOOL: Role.TOOL,
}
_FROM_ROLE = {role: value for value, role in _TO_ROLE.items()}


class EvaluatorServicer(pb_grpc.EvaluatorServiceServicer):
    """Serves flotilla.evaluator.v1.EvaluatorService."""

    def __init__(self, service: EvaluatorService, verifier: IdentityVerifier) -> None:
        self._service = service
        self._verifier = verifier

    async def Observe(self, request: pb.ObserveRequest, context: Context) -> pb.ObserveResponse:
        """Stores and scores a run."""
        is_new, scores = await self._service.observe(current_identity(), _observation(request.observation))
        return pb.ObserveResponse(created=is_new, scores=map(_score, scores))

    async def BatchObserve(self, request: pb.BatchObserveRequest, context: Context) -> pb.BatchObserveResponse:
        """Stores and scores runs, each for its own person."""
        outcomes = await serve_each(
            request.observations,
            self._observe,
            verifier=self._verifier,
            field="observations",
            identities_token=request.identities_token,
        )
        return pb.BatchObserveResponse(results=map(_result, outcomes))

    async def GetObservation(self, request: pb.GetObservationRequest, context: Context) -> pb.GetObservationResponse:
        """Returns a run with its scores."""
        observed = await self._service.get_observation(current_identity(), read_id(request.run_id, field="run_id"))
        return pb.GetObservationResponse(
            observation=_observation_message(observed.observation), scores=map(_score, observed.scores)
        )

    async def ListObservations(
        self, request: pb.ListObservationsRequest, context: Context
    ) -> pb.ListObservationsResponse:
        """Returns a page of runs."""
        page = await self._service.list_observations(
            current_identity(),
            agent=request.agent,
            page_size=request.page_size,
            after=read_page_token(request.page_token, PagePosition),
        )
        return pb.ListObservationsResponse(
            observations=map(_scored, page.observations), next_page_token=write_page_token(page.next)
        )

    async def _observe(self, shown: pb.RunObservation) -> bool:
        is_new, _ = await self._service.observe(current_identity(), _observation(shown.request.observation))
        return is_new


def _observation(message: pb.Observation) -> Observation:
    has_time = message.HasField("finish_time")
    return Observation(
        run_id=read_id(message.run_id, field="observation.run_id"),
        agent=message.agent,
        release=message.release,
        messages=[_message(each) for each in message.messages],
        usage=[Usage(each.model, each.input_tokens, each.output_tokens, each.cost_micro_usd) for each in message.usage],
        duration_s=read_span(message.duration, field="observation.duration"),
        finished_at=read_time(message.finish_time, field="observation.finish_time") if has_time else datetime.now(UTC),
        failed_tool_calls=message.failed_tool_calls,
    )


def _result(outcome: bool | FlotillaError) -> pb.RunObservationResult:
    if isinstance(outcome, FlotillaError):
        return pb.RunObservationResult(error_status=pack_error(outcome))
    return pb.RunObservationResult(created=outcome)


def _message(message: message_pb2.Message) -> Message:
    calls = [
        ToolCall(id=call.id, name=call.name, arguments=call.arguments_json.decode(errors="replace"))
        for call in message.tool_calls
    ]
    return Message(
        role=_TO_ROLE.get(message.role, Role.UNKNOWN),
        content=message.content,
        id=message.id,
        tool_calls=calls,
        tool_call_id=message.tool_call_id,
        name=message.name,
    )


def _observation_message(observation: Observation) -> pb.Observation:
    message = pb.Observation(
        run_id=str(observation.run_id),
        agent=observation.agent,
        release=observation.release,
        messages=map(_message_message, observation.messages),
        usage=map(_usage_message, observation.usage),
        failed_tool_calls=observation.failed_tool_calls,
    )
    message.duration.FromTimedelta(timedelta(seconds=observation.duration_s))
    message.finish_time.FromDatetime(observation.finished_at)
    return message


def _message_message(message: Message) -> message_pb2.Message:
    calls = [
        message_pb2.ToolCall(id=call.id, name=call.name, arguments_json=call.arguments.encode())
        for call in message.tool_calls
    ]
    return message_pb2.Message(
        id=message.id,
        role=_FROM_ROLE.get(message.role, message_pb2.MESSAGE_ROLE_UNSPECIFIED),
        content=message.content,
        tool_calls=calls,
        tool_call_id=message.tool_call_id,
        name=message.name,
    )


def _usage_message(usage: Usage) -> message_pb2.ModelUsage:
    return message_pb2.ModelUsage(
        model=usage.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_micro_usd=usage.cost_micro_usd,
    )


def _score(score: Score) -> pb.Score:
    return pb.Score(key=score.key, value=score.value, explanation=score.explanation)


def _scored(observed: ScoredObservation) -> pb.ScoredObservation:
    return pb.ScoredObservation(
        observation=_observation_message(observed.observation), scores=map(_score, observed.scores)
    )
