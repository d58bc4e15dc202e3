"""A migrated database and pools on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from fakes.servers import ServiceDatabase
from flotilla_common.postgres import Pool, open_pool
from flotilla_orchestrator.assembly import read_by_index


@pytest.fixture
def orchestrator_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("orchestrator")


@pytest.fixture
async def pool(orchestrator_database: ServiceDatabase) -> AsyncIterator[Pool]:
    """Connections that see every tenant."""
    url = read_by_index(orchestrator_database.url)
    async with open_pool(url, system=True, plans_once=True, min_size=2, max_size=16, wait_s=30) as opened:
        yield opened
