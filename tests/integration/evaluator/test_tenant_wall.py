"""Row-level security of the evaluator's schema, with the service's own filters out of the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from fakes.servers import ServiceDatabase
from flotilla_common.postgres import open_pool
from flotilla_evaluator.model import Observation, Score, ScoredObservation
from flotilla_evaluator.stores.postgres import PostgresObservationStore
from integration.tenant_wall import may_define_tables, rows_seen, tables_without_wall


async def test_a_tenant_sees_its_own_rows_only(database: Callable[[str], ServiceDatabase]) -> None:
    fresh, tenant_id = database("evaluator"), uuid4()
    observation = Observation(uuid4(), "assistant", "r", [], [], 0.1, datetime.now(UTC))
    async with open_pool(fresh.url, min_size=1, max_size=1) as pool:
        observed = ScoredObservation(observation, [Score("answered", 0, "No.")])
        await PostgresObservationStore(pool).add(tenant_id, uuid4(), observed)

    assert rows_seen(fresh, "evaluator", tenant_id) == {"observations": 1, "scores": 1}
    assert rows_seen(fresh, "evaluator", uuid4()) == {"observations": 0, "scores": 0}
    assert rows_seen(fresh, "evaluator", None) == {"observations": 0, "scores": 0}
    assert tables_without_wall(fresh, "evaluator") == []
    assert not may_define_tables(fresh, "evaluator")
