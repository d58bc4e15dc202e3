"""What the tool service deletes by itself, and what it keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import psycopg
import pytest
from fakes.servers import ServiceDatabase
from flotilla_common.postgres import Pool, open_pool
from flotilla_common.sweeps import Pace, SweepMetrics
from flotilla_tool.model import Caller, FinishedCall, LedgerKey, LedgerState, Outcome, Result
from flotilla_tool.settings import ToolSettings
from flotilla_tool.stores.janitor import DELETE_OLD_RESULTS, Janitor
from flotilla_tool.stores.postgres import PostgresLedger
from prometheus_client import CollectorRegistry

DAY_S = 24 * 3600.0
CALLER = Caller(uuid4(), uuid4(), uuid4())


@pytest.fixture
def tool_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("tool")


@pytest.fixture
async def pool(tool_database: ServiceDatabase) -> AsyncIterator[Pool]:
    """Connections of the service's own role that see every tenant."""
    async with open_pool(tool_database.url, system=True, min_size=1, max_size=4) as opened:
        yield opened


def janitor(pool: Pool, registry: CollectorRegistry | None = None) -> Janitor:
    pace = Pace(least=2, most=4)
    return Janitor(pool, SweepMetrics(registry or CollectorRegistry()), kept_s=7 * DAY_S, pace=pace)


def key(name: str) -> LedgerKey:
    return LedgerKey(name, "transfer", b"d", needs_intent=True)


async def call(pool: Pool, *names: str, caller: Caller = CALLER, is_finished: bool = True) -> None:
    ledger = PostgresLedger(pool)
    await ledger.claim(caller, [key(name) for name in names])
    if is_finished:
        done = Result(Outcome.SUCCEEDED, "done")
        await ledger.record(caller, [FinishedCall(key(name), done) for name in names])


async def days_pass(pool: Pool, days: int) -> None:
    async with pool.connection() as connection:
        moved = "UPDATE invocations SET created_at = created_at - %(by)s, finished_at = finished_at - %(by)s"
        await connection.execute(moved.replace("%(by)s", f"interval '{days} days'"))


async def kept_keys(pool: Pool) -> set[str]:
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT idempotency_key FROM invocations")).fetchall()
    return {row[0] for row in rows}


async def test_results_of_every_tenant_go_and_open_intents_and_younger_results_stay(pool: Pool) -> None:
    registry = CollectorRegistry()
    await call(pool, *(f"old {number}" for number in range(9)))
    await call(pool, "somebody else's", caller=Caller(uuid4(), uuid4(), uuid4()))
    await call(pool, "open", is_finished=False)
    await days_pass(pool, 2)
    await call(pool, "young")
    await days_pass(pool, 6)

    deleted = await janitor(pool, registry).results.run()

    assert deleted == 10
    assert await kept_keys(pool) == {"open", "young"}
    assert registry.get_sample_value("flotilla_sweep_deleted_total", {"kind": "results"}) == 10
    entries = await PostgresLedger(pool).claim(CALLER, [key("open"), key("young")])
    assert [entry.state for entry in entries.values()] == [LedgerState.INTENDED, LedgerState.FINISHED]


async def test_processes_share_the_work(pool: Pool) -> None:
    await call(pool, *(f"old {number}" for number in range(40)))
    await days_pass(pool, 8)

    deleted = await asyncio.gather(*(janitor(pool).results.run() for _ in range(3)))

    assert sum(deleted) == 40
    assert await kept_keys(pool) == set()


async def test_a_batch_goes_by_the_index(tool_database: ServiceDatabase) -> None:
    with psycopg.connect(tool_database.superuser_url, autocommit=True) as connection:
        connection.execute("SET search_path = tool")
        connection.execute(
            "INSERT INTO invocations SELECT gen_random_uuid(), gen_random_uuid(), g::text, gen_random_uuid(), 't', 'd',"
            " 1, 'done', '', 1, now(), now() - g * interval '1 minute' FROM generate_series(1, 20000) g"
        )
        connection.execute("ANALYZE invocations")
        given = {"kept_s": 7 * DAY_S, "after": "1970-01-01", "limit": 100}
        rows = connection.execute(f"EXPLAIN (FORMAT JSON) {DELETE_OLD_RESULTS}", given).fetchall()

    plan = json.dumps(rows[0][0])
    assert "invocations_finished" in plan
    assert "Seq Scan" not in plan


def test_results_are_kept_longer_than_a_key_holds() -> None:
    assert ToolSettings.model_fields["results_kept_days"].default == 7
    assert [limit.ge for limit in ToolSettings.model_fields["results_kept_days"].metadata] == [2]
