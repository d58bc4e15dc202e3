"""Row-level security of the tool schema, with the service's own filters out of the way."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from fakes.servers import ServiceDatabase
from flotilla_common.postgres import open_pool
from flotilla_tool.model import Caller, LedgerKey
from flotilla_tool.stores.postgres import PostgresLedger
from integration.tenant_wall import may_define_tables, rows_seen, tables_without_wall


async def test_a_tenant_sees_its_own_rows_only(database: Callable[[str], ServiceDatabase]) -> None:
    fresh, caller = database("tool"), Caller(uuid4(), uuid4(), uuid4())
    async with open_pool(fresh.url, min_size=1, max_size=1) as pool:
        await PostgresLedger(pool).claim(caller, [LedgerKey("k", "transfer", b"d", needs_intent=True)])

    assert rows_seen(fresh, "tool", caller.tenant_id) == {"invocations": 1}
    assert rows_seen(fresh, "tool", uuid4()) == {"invocations": 0}
    assert rows_seen(fresh, "tool", None) == {"invocations": 0}
    assert tables_without_wall(fresh, "tool") == []
    assert not may_define_tables(fresh, "tool")
