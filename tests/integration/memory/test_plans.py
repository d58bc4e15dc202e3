"""The plan that a connection keeps, perhaps made while the table was empty, reads one person's rows and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from fakes.servers import ServiceDatabase
from flotilla_memory.stores import find, look, postgres
from integration.memory.many import fill, somebody
from psycopg.pq import ExecStatus


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the plan's nodes, in its order."""
    yield node
    for inner in node.get("Plans", ()):
        yield from nodes_of(inner)


def scans_of(node: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """Returns the plan's nodes that read a table."""
    return [inner for inner in nodes_of(node) if inner.get("Relation Name") == table]


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


@pytest.mark.parametrize(("statement", "times"), [(find.FIND_AMONG_FEW, 2), (find.FIND_AMONG_MANY, 2), (look.LOOK, 1)])
async def test_recall_reads_by_person_also_when_planned_on_an_empty_table(
    database: Callable[[str], ServiceDatabase], statement: str, times: int
) -> None:
    plan = kept_plan(database("memory"), statement)

    scans = scans_of(plan, "memories")
    assert len(scans) == times
    assert all("user_id" in scan["Index Cond"] for scan in [*scans, *scans_of(plan, "core_blocks")]), scans


@pytest.mark.parametrize("is_filled", [False, True])
async def test_recall_among_many_reads_sketches_from_their_index_and_memories_one_by_one(
    database: Callable[[str], ServiceDatabase], is_filled: bool
) -> None:
    fresh = database("memory")
    if is_filled:
        for _ in range(3):
            fill(fresh, somebody(), 2_000)

    plan = kept_plan(fresh, find.FIND_AMONG_MANY)

    by_embedding, by_words = scans_of(plan, "sketches")
    assert by_embedding["Node Type"] == "Index Only Scan"
    assert all("user_id" in scan["Index Cond"] and "space" in scan["Index Cond"] for scan in (by_embedding, by_words))
    sorts = [node for node in nodes_of(plan) if node["Node Type"] == "Sort" and scans_of(node, "sketches")]
    assert [("<~>" in str(sort["Sort Key"]), "bit_count" in str(sort["Sort Key"])) for sort in sorts] == [
        (True, False),
        (False, True),
    ]
    assert all("(memory_id = " in scan["Index Cond"] for scan in scans_of(plan, "memories"))


async def test_list_page_begins_where_the_last_one_ended(database: Callable[[str], ServiceDatabase]) -> None:
    plan = kept_plan(database("memory"), postgres.LIST)

    (scan,) = scans_of(plan, "memories")
    assert "ROW(created_at, memory_id) <" in scan["Index Cond"]
    assert not [node for node in nodes_of(plan) if node["Node Type"] == "Sort"]
