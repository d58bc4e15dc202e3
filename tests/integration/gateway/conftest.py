"""A gateway's own stores on the embedded Postgres and Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from fakes.gateway import Stores, open_stores
from fakes.orchestrator import FakeOrchestrator, fake_orchestrator, serving
from fakes.servers import ServiceDatabase


@pytest.fixture(scope="module")
def gateway_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("gateway")


@pytest.fixture
async def stores(gateway_database: ServiceDatabase) -> AsyncIterator[Stores]:
    async with open_stores(gateway_database) as opened:
        yield opened


@pytest.fixture
async def orchestrator_at() -> AsyncIterator[tuple[FakeOrchestrator, str]]:
    fake = fake_orchestrator()
    async with serving(fake) as target:
        yield fake, target
