"""The tool service as the orchestrator calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import grpc
import orjson
from flotilla.tool.v1 import tool_service_pb2 as pb
from flotilla.tool.v1 import tool_service_pb2_grpc as pb_grpc
from flotilla_common.rpc.guard import map_rpc_errors

if TYPE_CHECKING:
    from flotilla.tool.v1.tool_service_pb2_grpc import ToolServiceAsyncStub


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as it is shown to a model."""

    name: str
    description: str
    parameters: dict[str, Any]
    is_read_only: bool = False
    """It changes nothing, so that asking it again does no harm."""


@dataclass(frozen=True, slots=True)
class ToolInvocation:
    """One call as it is asked for."""

    tool_call_id: str
    name: str
    args_json: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What became of one call; an empty reason means that it succeeded."""

    tool_call_id: str
    content: str
    reason: str = ""


class ToolClient(Protocol):
    """What the orchestrator asks of the tool service, for the tenant of the current identity."""

    async def list_tools(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        """Returns the tools of these names that there are."""
        ...

    async def invoke(
        self, invocations: Sequence[ToolInvocation], *, allowed: Sequence[str], run_id: UUID
    ) -> tuple[ToolResult, ...]:
        """Invokes all calls of one step and returns one result for each, in order."""
        ...


class GrpcToolClient:
    """Calls flotilla.tool.v1.ToolService."""

    def __init__(self, channel: grpc.aio.Channel, *, invoke_timeout_s: float = 120.0) -> None:
        self._stub: ToolServiceAsyncStub = pb_grpc.ToolServiceStub(channel)
        self._invoke_timeout_s = invoke_timeout_s

    async def list_tools(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        """Returns the tools of these names that there are."""
        with map_rpc_errors("tool"):
            found = await self._stub.ListTools(pb.ListToolsRequest(names=names))
        return tuple(_spec(tool) for tool in found.tools)

    async def invoke(
        self, invocations: Sequence[ToolInvocation], *, allowed: Sequence[str], run_id: UUID
    ) -> tuple[ToolResult, ...]:
        """Invokes all calls of one step and returns one result for each, in order."""
        request = pb.InvokeBatchRequest(
            invocations=[
                pb.Invocation(
                    tool_call_id=call.tool_call_id,
                    name=call.name,
                    arguments_json=call.args_json.encode(),
                    idempotency_key=call.idempotency_key,
                )
                for call in invocations
            ],
            allowed_tools=allowed,
            run_id=str(run_id),
        )
        with map_rpc_errors("tool"):
            answer = await self._stub.InvokeBatch(request, timeout=self._invoke_timeout_s)
        return tuple(_result(result) for result in answer.results)


def _spec(tool: pb.Tool) -> ToolSpec:
    definition = tool.definition
    parameters = orjson.loads(definition.parameters_json or b"{}")
    return ToolSpec(definition.name, definition.description, parameters, tool.read_only)


def _result(result: pb.InvocationResult) -> ToolResult:
    if result.outcome == pb.INVOCATION_OUTCOME_SUCCEEDED:
        return ToolResult(result.tool_call_id, result.content)
    reason = "outcome_unknown" if result.outcome == pb.INVOCATION_OUTCOME_UNKNOWN else result.reason or "failed"
    return ToolResult(result.tool_call_id, result.content, reason)
