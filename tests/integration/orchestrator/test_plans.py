"""The plans that a connection keeps, perhaps made while the tables were empty, find their rows by index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fakes.servers import ServiceDatabase
from flotilla_common.postgres import Connection, Pool
from flotilla_orchestrator.stores.statements import (
    accept,
    append,
    checkpoints,
    finish,
    leases,
    outbox,
    retention,
    runs,
    threads,
)
from psycopg.pq import ExecStatus

ON_LEASES_AND_OUTBOX = {
    "append events": append.APPEND_EVENTS,
    "append all": append.APPEND_ALL,
    "finish": finish.FINISH,
    "finish with writes": finish.FINISH_WITH_WRITES,
    "beat": leases.BEAT,
    "release": leases.RELEASE,
    "due outbox": outbox.DUE,
    "sent outbox": outbox.SENT,
}
BUSY = {
    **ON_LEASES_AND_OUTBOX,
    "accept": accept.ACCEPT,
    "accepted before": accept.ACCEPTED_BEFORE,
    "free expired keys": accept.FREE_EXPIRED_KEYS,
    "twins": accept.TWINS,
    "finished before": finish.FINISHED_BEFORE,
    "cancel requests": leases.CANCEL_REQUESTS,
    "claim waiting": leases.CLAIM_WAITING,
    "claim cancelled": leases.CLAIM_CANCELLED,
    "last sequences": leases.LAST_SEQUENCES,
    "put off outbox": outbox.PUT_OFF,
    "read events": runs.READ_EVENTS,
    "read many events": runs.READ_MANY_EVENTS,
    "find checkpoint": checkpoints.FIND.format(conditions=checkpoints.CONDITIONS["thread_id"]),
    "old events": retention.RUNS_WITH_OLD_EVENTS,
    "old keys": retention.FREE_OLD_KEYS,
    "events of old runs": retention.DELETE_EVENTS,
    "expired threads": retention.EXPIRED_THREADS,
    "busy threads": retention.BUSY_THREADS,
    **{f"delete threads {number}": statement for number, statement in enumerate(threads.DELETE)},
}
FIRST_COLUMNS = """
SELECT c.relname, a.attname FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
"""


def scans_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the plan's nodes that read a table."""
    if node["Node Type"].endswith("Scan") and ("Relation Name" in node or "Index Name" in node):
        yield node
    for inner in node.get("Plans", ()):
        yield from scans_of(inner)


def kept_plan(connection: Connection, statement: str) -> dict[str, Any]:
    """Returns the plan for all values."""
    numbers: dict[str, int] = {}
    numbered = re.sub(r"%\((\w+)\)[sb]", lambda name: f"${numbers.setdefault(name[1], len(numbers) + 1)}", statement)
    # Below psycopg's own parameters, because these have no values.
    result = connection.pgconn.exec_(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {numbered}".encode())
    assert result.status == ExecStatus.TUPLES_OK, result.error_message
    plan: dict[str, Any] = json.loads(result.get_value(0, 0) or b"")[0]["Plan"]
    return plan


async def whole_reads(pool: Pool, statement: str) -> list[dict[str, Any]]:
    """Returns the scans that do not go to their rows by the first column of an index."""
    async with pool.connection() as connection:
        first: dict[str, str] = dict(await (await connection.execute(FIRST_COLUMNS)).fetchall())
        scans = list(scans_of(kept_plan(connection, statement)))
    assert scans
    # A bitmap's table goes by the index below it.
    return [
        scan
        for scan in scans
        if scan["Node Type"] != "Bitmap Heap Scan"
        and first.get(scan.get("Index Name", ""), "no index") not in scan.get("Index Cond", "")
    ]


@pytest.mark.parametrize("statement", BUSY.values(), ids=BUSY.keys())
async def test_statement_planned_on_empty_tables_reads_by_index(pool: Pool, statement: str) -> None:
    assert await whole_reads(pool, statement) == []


@pytest.mark.parametrize("statement", ON_LEASES_AND_OUTBOX.values(), ids=ON_LEASES_AND_OUTBOX.keys())
async def test_statement_planned_on_an_idle_platform_reads_by_index(
    orchestrator_database: ServiceDatabase, pool: Pool, statement: str
) -> None:
    with psycopg.connect(orchestrator_database.superuser_url, autocommit=True) as connection:
        # What autovacuum does to tables whose rows have all gone: it says that they are empty.
        connection.execute("VACUUM ANALYZE orchestrator.leases, orchestrator.outbox")

    assert await whole_reads(pool, statement) == []


async def test_connections_of_the_run_path_keep_their_plans(pool: Pool) -> None:
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT current_setting('plan_cache_mode')")).fetchall()

    assert rows == [("force_generic_plan",)]
