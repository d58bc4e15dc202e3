"""The evaluator as the orchestrator calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import grpc
from flotilla.evaluator.v1 import evaluator_service_pb2 as pb
from flotilla.evaluator.v1 import evaluator_service_pb2_grpc as pb_grpc
from flotilla_common.errors import FlotillaError
from flotilla_common.identity import IdentitySigner
from flotilla_common.rpc.guard import map_rpc_errors

from flotilla_orchestrator.clients.delivery import Delivery, outcomes_of

if TYPE_CHECKING:
    from flotilla.evaluator.v1.evaluator_service_pb2_grpc import EvaluatorServiceAsyncStub


class EvaluatorClient(Protocol):
    """What the orchestrator asks of the evaluator."""

    async def observe_all(self, deliveries: Sequence[Delivery]) -> Sequence[FlotillaError | None]:
        """Sends serialised ObserveRequests in one call; returns what each failed with, or None."""
        ...


class GrpcEvaluatorClient:
    """Calls flotilla.evaluator.v1.EvaluatorService."""

    def __init__(self, channel: grpc.aio.Channel, signer: IdentitySigner) -> None:
        self._stub: EvaluatorServiceAsyncStub = pb_grpc.EvaluatorServiceStub(channel)
        self._signer = signer

    async def observe_all(self, deliveries: Sequence[Delivery]) -> Sequence[FlotillaError | None]:
        """Sends serialised ObserveRequests in one call; returns what each failed with, or None."""
        observations = [
            pb.RunObservation(request=pb.ObserveRequest.FromString(delivery.payload)) for delivery in deliveries
        ]
        token = self._signer.sign_all((delivery.identity for delivery in deliveries), audience="evaluator")
        with map_rpc_errors("evaluator"):
            answer = await self._stub.BatchObserve(
                pb.BatchObserveRequest(observations=observations, identities_token=token)
            )
        return outcomes_of((result.error_status for result in answer.results), deliveries)
