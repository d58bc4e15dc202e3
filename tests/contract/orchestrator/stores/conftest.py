"""Every suite in this folder runs on the stores in memory and on those on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from fakes.run_stores import Stores, stores_in_memory, stores_on_postgres
from fakes.servers import ServiceDatabase
from flotilla_common.postgres import open_pool
from flotilla_orchestrator.assembly import read_by_index


@pytest.fixture(scope="module")
def orchestrator_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("orchestrator")


@pytest.fixture(params=["memory", "postgres"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield stores_in_memory()
        return
    where: ServiceDatabase = request.getfixturevalue("orchestrator_database")
    async with open_pool(read_by_index(where.url), system=True, plans_once=True, min_size=1) as pool:
        yield stores_on_postgres(pool)
        async with pool.connection() as connection:
            # Suites share the database, and a claim takes what it finds.
            await connection.execute("DELETE FROM leases; DELETE FROM outbox")
