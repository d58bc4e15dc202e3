"""The plan that a connection keeps, perhaps made while the table was empty, reads one person's rows and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from fakes.servers import ServiceDatabase
from flotilla_memory.stores import grouped
from psycopg.pq import ExecStatus


def scans_of(node: dict[str, Any], table: str) -> Iterator[dict[str, Any]]:
    """Yields the plan's nodes that read a table."""
    if node.get("Relation Name") == table:
        yield node
    for inner in node.get("Plans", ()):
        yield from scans_of(inner, table)


def kept_plan(database: ServiceDatabase, statement: str) -> dict[str, Any]:
    """Returns the plan for all values."""
    numbers: dict[str, int] = {}
    numbered = re.sub(r"%\((\w+)\)s", lambda name: f"${numbers.setdefault(name[1], len(numbers) + 1)}", statement)
    with psycopg.connect(database.owner_url) as connection:
        # Below psycopg's own parameters, because these have no values.
        result = connection.pgconn.exec_(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {numbered}".encode())
    assert result.status == ExecStatus.TUPLES_OK, result.error_message
    plan: dict[str, Any] = json.loads(result.get_value(0, 0) or b"")[0]["Plan"]
    return plan


async def test_recall_reads_by_person_also_when_planned_on_an_empty_table(
    database: Callable[[str], ServiceDatabase],
) -> None:
    plan = kept_plan(database("memory"), grouped.FIND)

    scans = list(scans_of(plan, "memories"))
    assert len(scans) == 2
    assert all("user_id" in scan["Index Cond"] for scan in scans), scans
    assert all("user_id" in scan["Index Cond"] for scan in scans_of(plan, "core_blocks"))
