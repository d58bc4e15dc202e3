"""`/v1/memories` and `/v1/tools`: the leaves' own resources, read and written directly."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from flotilla.memory.v1 import memory_service_pb2 as memory_pb
from flotilla.tool.v1 import tool_service_pb2 as tool_pb

from flotilla_gateway.clients.memory import Memories
from flotilla_gateway.clients.tool import Tools
from flotilla_gateway.model import Scope
from flotilla_gateway.wires.door import Door
from flotilla_gateway.wires.operations.runs import EndUser

PageSize = Annotated[int, Query(ge=1, le=200)]
PageToken = Annotated[str, Query(max_length=512)]


def leaf_routes(door: Door, memories: Memories, tools: Tools) -> APIRouter:
    """Returns the routes."""
    router = APIRouter(tags=["Operations"])

    @router.get("/v1/memories")
    async def list_memories(
        request: Request, user: EndUser = None, limit: PageSize = 50, page: PageToken = ""
    ) -> dict[str, Any]:
        """Lists what is remembered about the person, newest first; `next_page` goes into `page`."""
        (await door.admit(request.scope, Scope.CHAT)).serve_as(user)
        found = await memories.list_memories(page_size=limit, page_token=page)
        data = [_memory_object(memory) for memory in found.memories]
        return {"object": "list", "data": data, "next_page": found.next_page_token or None}

    @router.delete("/v1/memories/{memory_id}")
    async def delete_memory(memory_id: str, request: Request, user: EndUser = None) -> dict[str, Any]:
        """Forgets one memory for good."""
        (await door.admit(request.scope, Scope.CHAT)).serve_as(user)
        await memories.delete_memory(memory_id)
        return {"id": memory_id, "object": "memory", "deleted": True}

    @router.get("/v1/tools")
    async def list_tools(request: Request) -> dict[str, Any]:
        """Lists the tools that agents may use."""
        (await door.admit(request.scope, Scope.CHAT)).serve_as()
        return {"object": "list", "data": [_tool_object(tool) for tool in await tools.list_tools()]}

    return router


def _memory_object(memory: memory_pb.Memory) -> dict[str, Any]:
    return {
        "id": memory.id,
        "object": "memory",
        "kind": memory_pb.MemoryKind.Name(memory.kind).removeprefix("MEMORY_KIND_").lower(),
        "text": memory.text,
        "created_at": memory.create_time.seconds,
        "run_id": memory.run_id or None,
        "thread_id": memory.thread_id or None,
    }


def _tool_object(tool: tool_pb.Tool) -> dict[str, Any]:
    return {
        "name": tool.definition.name,
        "object": "tool",
        "description": tool.definition.description,
        "parameters": orjson.loads(tool.definition.parameters_json or b"{}"),
        "idempotent": tool.idempotent,
        "read_only": tool.read_only,
    }
