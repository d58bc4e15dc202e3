"""The tool service's own resources: which tools there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from flotilla.tool.v1 import tool_service_pb2 as pb
from flotilla.tool.v1 import tool_service_pb2_grpc as pb_grpc
from flotilla_common.rpc.guard import map_rpc_errors

if TYPE_CHECKING:
    import grpc


class Tools(Protocol):
    """The calls that the gateway makes. All raise flotilla_common.errors."""

    async def list_tools(self) -> Sequence[pb.Tool]:
        """Returns the tools that the caller's tenant may use, by name."""
        ...


class GrpcTools:
    """The tool service over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.ToolServiceAsyncStub = pb_grpc.ToolServiceStub(channel)

    async def list_tools(self) -> Sequence[pb.Tool]:
        """Returns the tools by name."""
        with map_rpc_errors("tool"):
            return (await self._stub.ListTools(pb.ListToolsRequest())).tools
