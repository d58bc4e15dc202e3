"""Stores, and the service behind a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from contract.leaf_service import leaf_channel
from fakes.servers import ServiceDatabase
from flotilla.evaluator.v1 import evaluator_service_pb2_grpc as pb_grpc
from flotilla_common.identity import IdentitySigner, IdentityVerifier
from flotilla_common.postgres import Pool, open_pool
from flotilla_evaluator.metrics import EvaluatorMetrics
from flotilla_evaluator.scorers.answered import Answered
from flotilla_evaluator.scorers.grounded import Grounded
from flotilla_evaluator.scorers.tools_succeeded import ToolsSucceeded
from flotilla_evaluator.server import EvaluatorServicer
from flotilla_evaluator.service import EvaluatorService
from flotilla_evaluator.stores.in_memory import InMemoryObservationStore
from flotilla_evaluator.stores.observation_store import ObservationStore
from flotilla_evaluator.stores.postgres import PostgresObservationStore
from prometheus_client import CollectorRegistry


@pytest.fixture(scope="module")
def evaluator_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("evaluator")


@pytest.fixture
async def pool(evaluator_database: ServiceDatabase) -> AsyncIterator[Pool]:
    async with open_pool(evaluator_database.url, min_size=1, max_size=8) as opened:
        yield opened


@pytest.fixture(params=["in_memory", "postgres"])
async def store(request: pytest.FixtureRequest, evaluator_database: ServiceDatabase) -> AsyncIterator[ObservationStore]:
    if request.param == "in_memory":
        yield InMemoryObservationStore()
        return
    async with open_pool(evaluator_database.url, min_size=1, max_size=8) as opened:
        yield PostgresObservationStore(opened)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def evaluator(
    pool: Pool, registry: CollectorRegistry, tmp_path: Path
) -> AsyncIterator[pb_grpc.EvaluatorServiceAsyncStub]:
    service = EvaluatorService(
        store=PostgresObservationStore(pool),
        scorers=(Answered(), Grounded(), ToolsSucceeded()),
        metrics=EvaluatorMetrics(registry),
    )
    verifier = IdentityVerifier(tmp_path / "keys", "evaluator")
    async with leaf_channel(
        tmp_path,
        service="evaluator",
        full_name="flotilla.evaluator.v1.EvaluatorService",
        register=lambda server: pb_grpc.add_EvaluatorServiceServicer_to_server(
            EvaluatorServicer(service, verifier), server
        ),
        verifier=verifier,
    ) as channel:
        yield pb_grpc.EvaluatorServiceStub(channel)


@pytest.fixture
def signer(evaluator: pb_grpc.EvaluatorServiceAsyncStub, tmp_path: Path) -> IdentitySigner:
    """Returns the issuer that the service behind the stub knows."""
    return IdentitySigner("orchestrator", tmp_path / "orchestrator.pem")
