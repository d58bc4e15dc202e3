"""Stores, an embedding model that places texts by their words, and the service behind a real server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import pytest
from contract.leaf_service import leaf_channel
from fakes.servers import ServiceDatabase
from flotilla.memory.v1 import memory_service_pb2_grpc as pb_grpc
from flotilla_common.errors import UnavailableError
from flotilla_common.identity import IdentitySigner, IdentityVerifier
from flotilla_common.postgres import Pool, open_pool
from flotilla_llm import EmbeddingReply, Usage
from flotilla_memory.metrics import MemoryMetrics
from flotilla_memory.recall.embedder import Embedder
from flotilla_memory.recall.ranking import RankingWeights, RecallPolicy
from flotilla_memory.server import MemoryServicer
from flotilla_memory.service import MemoryService
from flotilla_memory.stores.in_memory import InMemoryMemoryStore
from flotilla_memory.stores.memory_store import MemoryStore
from flotilla_memory.stores.postgres import PostgresMemoryStore
from flotilla_memory.stores.words import telling_words
from prometheus_client import CollectorRegistry

DIMENSIONS = 64


@dataclass
class WordEmbeddings:
    """An embedding model: texts are near each other when they share words. It can be away, or hang."""

    model: str = "words-1"
    is_away: bool = False
    hangs: bool = False
    texts: list[str] = field(default_factory=list)
    calls: int = 0

    async def embed(self, texts: Sequence[str], *, route: str) -> EmbeddingReply:
        self.calls += 1
        self.texts.extend(texts)
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise UnavailableError("away", reason="model_unavailable")
        return EmbeddingReply([vector_of(text) for text in texts], self.model, Usage(self.model, 1, 0, 0))


def vector_of(text: str) -> list[float]:
    """Returns the unit vector of a text's words."""
    vector = [0.0] * DIMENSIONS
    for word in telling_words(text):
        vector[crc32(word.encode()) % DIMENSIONS] += 1.0
    norm = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / norm for x in vector]


@pytest.fixture(scope="module")
def memory_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("memory")


@pytest.fixture
async def pool(memory_database: ServiceDatabase) -> AsyncIterator[Pool]:
    async with open_pool(memory_database.url, min_size=1, max_size=8) as opened:
        yield opened


@pytest.fixture(params=["in_memory", "postgres"])
async def store(request: pytest.FixtureRequest, memory_database: ServiceDatabase) -> AsyncIterator[MemoryStore]:
    if request.param == "in_memory":
        yield InMemoryMemoryStore()
        return
    async with open_pool(memory_database.url, min_size=1, max_size=8) as opened:
        yield PostgresMemoryStore(opened)


@pytest.fixture
def models() -> WordEmbeddings:
    return WordEmbeddings()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def service(pool: Pool, models: WordEmbeddings, registry: CollectorRegistry) -> MemoryService:
    return MemoryService(
        store=PostgresMemoryStore(pool),
        embedder=Embedder(models, route="embedding", longest_text=8_000),
        policy=RecallPolicy(
            RankingWeights(min_score=0.3, word_weight=0.5),
            default_memories=8,
            question_timeout_s=0.5,
            text_timeout_s=0.5,
        ),
        metrics=MemoryMetrics(registry),
    )


@pytest.fixture
async def memory(service: MemoryService, tmp_path: Path) -> AsyncIterator[pb_grpc.MemoryServiceAsyncStub]:
    verifier = IdentityVerifier(tmp_path / "keys", "memory")
    async with leaf_channel(
        tmp_path,
        service="memory",
        full_name="flotilla.memory.v1.MemoryService",
        register=lambda server: pb_grpc.add_MemoryServiceServicer_to_server(MemoryServicer(service, verifier), server),
        verifier=verifier,
    ) as channel:
        yield pb_grpc.MemoryServiceStub(channel)


@pytest.fixture
def signer(memory: pb_grpc.MemoryServiceAsyncStub, tmp_path: Path) -> IdentitySigner:
    """Returns the issuer that the service behind the stub knows."""
    return IdentitySigner("orchestrator", tmp_path / "orchestrator.pem")
