"""Row-level security of the orchestrator's schema, with the service's own filters out of the way."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from fakes.run_stores import stores_on_postgres
from fakes.runs import TENANT, new_run
from fakes.servers import ServiceDatabase
from flotilla_common.postgres import Pool
from flotilla_orchestrator.stores.release_store import StoredRelease
from integration.tenant_wall import may_define_tables, rows_seen, tables_without_wall


async def test_a_tenant_sees_its_own_rows_and_no_prompts(orchestrator_database: ServiceDatabase, pool: Pool) -> None:
    stores = stores_on_postgres(pool)
    await stores.runs.accept([new_run(), new_run(tenant_id=uuid4())], owner=uuid4())
    await stores.releases.add([StoredRelease("ada", "0" * 64, "{}", datetime.now(UTC))])

    own, all_rows = (rows_seen(orchestrator_database, "orchestrator", tenant) for tenant in (TENANT, "*"))

    assert (own["runs"], own["leases"], own["events"], own["releases"]) == (1, 1, 1, 0)
    assert (all_rows["runs"], all_rows["releases"]) == (2, 1)
    assert set(rows_seen(orchestrator_database, "orchestrator", None).values()) == {0}
    assert tables_without_wall(orchestrator_database, "orchestrator") == []
    assert not may_define_tables(orchestrator_database, "orchestrator")
