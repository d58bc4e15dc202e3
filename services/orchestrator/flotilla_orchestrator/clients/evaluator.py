"""The evaluator as the orchestrator calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import grpc
from flotilla.evaluator.v1 import evaluator_service_pb2 as pb
from flotilla.evaluator.v1 import evaluator_service_pb2_grpc as pb_grpc
from flotilla_common.rpc.guard import map_rpc_errors

if TYPE_CHECKING:
    from flotilla.evaluator.v1.evaluator_service_pb2_grpc import EvaluatorServiceAsyncStub


class EvaluatorClient(Protocol):
    """What the orchestrator asks of the evaluator."""

    async def observe(self, payload: bytes) -> None:
        """Sends a serialised ObserveRequest."""
        ...


class GrpcEvaluatorClient:
    """Calls flotilla.evaluator.v1.EvaluatorService."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: EvaluatorServiceAsyncStub = pb_grpc.EvaluatorServiceStub(channel)

    async def observe(self, payload: bytes) -> None:
        """Sends a serialised ObserveRequest."""
        with map_rpc_errors("evaluator"):
            await self._stub.Observe(pb.ObserveRequest.FromString(payload))
