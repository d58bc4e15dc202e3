"""Ledgers, tools with effects that are counted, and the service behind a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from contract.leaf_service import leaf_channel
from fakes.servers import ServiceDatabase
from flotilla.tool.v1 import tool_service_pb2_grpc as pb_grpc
from flotilla_common.postgres import Pool, open_pool
from flotilla_tool.metrics import ToolMetrics
from flotilla_tool.model import ToolArguments, ToolSpec
from flotilla_tool.server import ToolServicer
from flotilla_tool.service import ToolService
from flotilla_tool.stores.in_memory import InMemoryLedger
from flotilla_tool.stores.ledger import Ledger
from flotilla_tool.stores.postgres import PostgresLedger
from flotilla_tool.tools.calculator import Calculator
from flotilla_tool.tools.clock import Clock
from flotilla_tool.tools.registry import ToolRegistry
from flotilla_tool.tools.runner import ToolRunner
from flotilla_tool.tools.tool import Invocation, ToolError
from prometheus_client import CollectorRegistry

RESULT_CAP_BYTES = 2_048


@dataclass
class Bank:
    """A tool with an effect: every transfer is kept, whatever becomes of the call afterwards."""

    name: str = "transfer"
    idempotent: bool = False
    timeout_s: float = 20.0
    transfers: list[str] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(
            name=self.name,
            description="Moves money.",
            parameters={
                "type": "object",
                "properties": {"to": {"type": "string"}, "how": {"type": "string"}},
                "required": ["to"],
            },
            timeout_s=self.timeout_s,
            idempotent=self.idempotent,
            read_only=False,
        )

    async def invoke(self, arguments: ToolArguments, invocation: Invocation) -> str:
        match arguments.get("how"):
            case "declined":
                raise ToolError("The account is closed.", reason="declined")
            case "waits":
                self.started.set()
                await self.may_end.wait()
        self.transfers.append(invocation.idempotency_key)
        match arguments.get("how"):
            case "crashes":
                raise RuntimeError("after the effect")
            case "hangs":
                await asyncio.Event().wait()
            case "talks":
                return "é" * 30_000 + "\x00"
        return f"sent to {arguments['to']}"


@pytest.fixture(scope="module")
def tool_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("tool")


@pytest.fixture
async def pool(tool_database: ServiceDatabase) -> AsyncIterator[Pool]:
    async with open_pool(tool_database.url, min_size=1, max_size=8) as opened:
        yield opened


@pytest.fixture(params=["in_memory", "postgres"])
async def ledger(request: pytest.FixtureRequest, tool_database: ServiceDatabase) -> AsyncIterator[Ledger]:
    if request.param == "in_memory":
        yield InMemoryLedger()
        return
    async with open_pool(tool_database.url, min_size=1, max_size=8) as opened:
        yield PostgresLedger(opened)


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def savings() -> Bank:
    return Bank(name="save", idempotent=True)


@pytest.fixture
def tools(bank: Bank, savings: Bank) -> ToolRegistry:
    return ToolRegistry([Calculator(), Clock(), bank, savings])


@pytest.fixture
def service(pool: Pool, tools: ToolRegistry) -> ToolService:
    return ToolService(
        registry=tools,
        ledger=PostgresLedger(pool),
        runner=ToolRunner(result_cap_bytes=RESULT_CAP_BYTES),
        metrics=ToolMetrics(CollectorRegistry()),
    )


@pytest.fixture
async def tool(service: ToolService, tmp_path: Path) -> AsyncIterator[pb_grpc.ToolServiceAsyncStub]:
    async with leaf_channel(
        tmp_path,
        service="tool",
        full_name="flotilla.tool.v1.ToolService",
        register=lambda server: pb_grpc.add_ToolServiceServicer_to_server(ToolServicer(service), server),
    ) as channel:
        yield pb_grpc.ToolServiceStub(channel)
        await service.finish()
