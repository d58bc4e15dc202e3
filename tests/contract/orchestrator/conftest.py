"""The orchestrator behind a real gRPC server, with scripted peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from contract.leaf_service import leaf_channel, person
from fakes.model_script import ScriptedModel, always
from fakes.peers import FakeEvaluator, FakeMemory, FakeTools
from fakes.run_engine import LoopBound, catalogue_in
from fakes.run_stores import stores_in_memory
from flotilla.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc
from flotilla_common.ids import new_id
from flotilla_common.request import acting_as
from flotilla_orchestrator.assembly import Orchestrator, Stores, open_orchestrator
from flotilla_orchestrator.clients.peers import Peers
from flotilla_orchestrator.settings import OrchestratorSettings
from flotilla_orchestrator.stores.run_store import RunStore
from prometheus_client import CollectorRegistry


@dataclass
class Service:
    """The service with what is around it."""

    orchestrator: Orchestrator
    model: ScriptedModel
    memory: FakeMemory
    tools: FakeTools
    evaluator: FakeEvaluator
    stub: pb_grpc.OrchestratorServiceAsyncStub


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Serves on a free port; the current identity is somebody new."""
    model, memory, tools, evaluator = ScriptedModel(always("Hello there")), FakeMemory(), FakeTools(), FakeEvaluator()
    async with (
        opened(tmp_path, model, Peers(memory, tools, evaluator)) as orchestrator,
        leaf_channel(
            tmp_path,
            service="orchestrator",
            full_name="flotilla.orchestrator.v1.OrchestratorService",
            register=lambda server: pb_grpc.add_OrchestratorServiceServicer_to_server(orchestrator.servicer, server),
        ) as channel,
    ):
        stub = pb_grpc.OrchestratorServiceStub(channel)
        with acting_as(person()):
            yield Service(orchestrator, model, memory, tools, evaluator, stub)


@asynccontextmanager
async def opened(folder: Path, model: ScriptedModel, peers: Peers) -> AsyncIterator[Orchestrator]:
    stores, loop = stores_in_memory(), asyncio.get_running_loop()

    @asynccontextmanager
    async def lease_store() -> AsyncIterator[RunStore]:
        yield LoopBound(stores.runs, loop)

    kept = Stores(stores.runs, stores.reader, stores.events, stores.threads, stores.checkpoints, stores.releases, ())
    (folder / "agents").mkdir()
    async with open_orchestrator(
        settings_in(folder),
        owner=new_id(),
        agents=catalogue_in(folder / "agents"),
        stores=kept,
        models=model,
        peers=peers,
        lease_store=lease_store,
        registry=CollectorRegistry(),
    ) as orchestrator:
        yield orchestrator


def settings_in(folder: Path) -> OrchestratorSettings:
    """Returns settings that are right for a test; no address in them is ever called."""
    key = folder / "unused.pem"
    key.touch()
    return OrchestratorSettings(
        app_env="test",
        identity_keys_dir=folder,
        identity_private_key_file=key,
        database_url="postgresql://nowhere",
        memory_target="127.0.0.1:1",
        tool_target="127.0.0.1:1",
        evaluator_target="127.0.0.1:1",
        agents_dir=folder,
        max_concurrent_runs=20,
        drain_grace_s=0.1,
    )
