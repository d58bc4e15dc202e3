"""A gateway in front of an orchestrator that plays scripts, for each test its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.gateway import RunningGateway, running_gateway
from fakes.orchestrator import FakeOrchestrator, fake_orchestrator, serving
from flotilla_gateway.model import Scope
from openai import AsyncOpenAI


@pytest.fixture
async def orchestrator_at() -> AsyncIterator[tuple[FakeOrchestrator, str]]:
    fake = fake_orchestrator()
    async with serving(fake) as target:
        yield fake, target


@pytest.fixture
def orchestrator(orchestrator_at: tuple[FakeOrchestrator, str]) -> FakeOrchestrator:
    return orchestrator_at[0]


@pytest.fixture
async def gateway(orchestrator_at: tuple[FakeOrchestrator, str], tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(orchestrator_at[1], tmp_path) as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    """The stock OpenAI client, with a key that may chat and embed; it does not retry by itself."""
    key = await gateway.key(Scope.CHAT, Scope.EMBEDDINGS)
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as openai:
        yield openai
