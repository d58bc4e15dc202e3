"""The edge of flotilla.tool.v1: requests to values, values to responses; decides nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
from flotilla.common.v1 import message_pb2
from flotilla.tool.v1 import tool_service_pb2 as pb
from flotilla.tool.v1 import tool_service_pb2_grpc as pb_grpc
from flotilla_common.request import current_identity
from flotilla_common.rpc.fields import read_id
from grpc.aio import ServicerContext

from flotilla_tool.model import Batch, Outcome, Result, ToolCall, ToolSpec
from flotilla_tool.service import ToolService

Context = ServicerContext[Any, Any]

_OUTCOMES = {
    Outcome.SUCCEEDED: pb.INVOCATION_OUTCOME_SUCCEEDED,
    Outcome.FAILED: pb.INVOCATION_OUTCOME_FAILED,
    Outcome.REFUSED: pb.INVOCATION_OUTCOME_REFUSED,
    Outcome.UNKNOWN: pb.INVOCATION_OUTCOME_UNKNOWN,
}


class ToolServicer(pb_grpc.ToolServiceServicer):
    """Serves flotilla.tool.v1.ToolService."""

    def __init__(self, service: ToolService) -> None:
        self._service = service

    async def ListTools(self, request: pb.ListToolsRequest, context: Context) -> pb.ListToolsResponse:
        """Returns the tools."""
        return pb.ListToolsResponse(tools=map(_tool, self._service.list_tools(frozenset(request.names))))

    async def InvokeBatch(self, request: pb.InvokeBatchRequest, context: Context) -> pb.InvokeBatchResponse:
        """Invokes all calls of a step."""
        results = await self._service.invoke_batch(current_identity(), _batch(request))
        return pb.InvokeBatchResponse(results=map(_result, request.invocations, results))


def _batch(request: pb.InvokeBatchRequest) -> Batch:
    calls = [
        ToolCall(call.tool_call_id, call.name, call.arguments_json, call.idempotency_key)
        for call in request.invocations
    ]
    return Batch(
        run_id=read_id(request.run_id, field="run_id"), calls=calls, allowed_tools=frozenset(request.allowed_tools)
    )


def _tool(spec: ToolSpec) -> pb.Tool:
    definition = message_pb2.ToolDefinition(
        name=spec.name, description=spec.description, parameters_json=orjson.dumps(spec.parameters)
    )
    tool = pb.Tool(definition=definition, idempotent=spec.idempotent, read_only=spec.read_only)
    tool.timeout.FromTimedelta(timedelta(seconds=spec.timeout_s))
    return tool


def _result(call: pb.Invocation, result: Result) -> pb.InvocationResult:
    answer = pb.InvocationResult(
        tool_call_id=call.tool_call_id,
        outcome=_OUTCOMES[result.outcome],
        content=result.content,
        reason=result.reason,
        replayed=result.replayed,
    )
    answer.duration.FromTimedelta(timedelta(seconds=result.duration_s))
    return answer
