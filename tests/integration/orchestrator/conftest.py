"""A migrated database and pools on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from fakes.servers import ServiceDatabase
from flotilla_common.postgres import Pool, open_pool


@pytest.fixture
def orchestrator_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("orchestrator")


@pytest.fixture
async def pool(orchestrator_database: ServiceDatabase) -> AsyncIterator[Pool]:
    """Connections that see every tenant."""
    async with open_pool(orchestrator_database.url, system=True, min_size=2, max_size=16, wait_s=30) as opened:
        yield opened
