"""What every store of observations does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from flotilla_evaluator.model import (
    Message,
    Observation,
    PagePosition,
    Role,
    Score,
    ScoredObservation,
    ToolCall,
    Usage,
    Viewer,
)
from flotilla_evaluator.stores.observation_store import ObservationStore

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
SCORES = [Score("answered", 1.0, "Yes."), Score("grounded", 0.5, "Half of it.")]


def observed(
    *, run_id: UUID | None = None, agent: str = "assistant", finished_at: datetime = NOW, text: str = "2"
) -> ScoredObservation:
    observation = Observation(
        run_id=run_id or uuid4(),
        agent=agent,
        release="sha256:1",
        messages=[
            Message(Role.HUMAN, "1 + 1?\x00", id="m1"),
            Message(Role.ASSISTANT, "", tool_calls=(ToolCall("c1", "calculator", '{"expression":"1+1"}'),)),
            Message(Role.TOOL, "2", tool_call_id="c1", name="calculator"),
            Message(Role.ASSISTANT, text),
        ],
        usage=[Usage("flotilla-dev", 10, 5, 0)],
        duration_s=0.25,
        finished_at=finished_at,
    )
    return ScoredObservation(observation, SCORES)


async def test_add_stores_a_run_once(store: ObservationStore) -> None:
    tenant_id, user_id, first = uuid4(), uuid4(), observed()
    second = observed(run_id=first.observation.run_id, text="another")

    created = [await store.add(tenant_id, user_id, each) for each in (first, second)]

    assert created == [True, False]
    assert await store.get(Viewer(tenant_id, user_id), first.observation.run_id) == first


async def test_add_stores_a_run_once_when_called_concurrently(store: ObservationStore) -> None:
    tenant_id, user_id, run_id = uuid4(), uuid4(), uuid4()

    created = await asyncio.gather(*(store.add(tenant_id, user_id, observed(run_id=run_id)) for _ in range(8)))

    assert sorted(created) == [False] * 7 + [True]


async def test_runs_of_two_tenants_may_have_one_id(store: ObservationStore) -> None:
    run_id = uuid4()

    assert await store.add(uuid4(), uuid4(), observed(run_id=run_id))
    assert await store.add(uuid4(), uuid4(), observed(run_id=run_id))


@pytest.mark.parametrize("sees", ["own", "colleague", "stranger", "administrator"])
async def test_get_and_list_show_what_the_viewer_may_see(store: ObservationStore, sees: str) -> None:
    tenant_id, user_id, kept = uuid4(), uuid4(), observed()
    await store.add(tenant_id, user_id, kept)
    viewer = {
        "own": Viewer(tenant_id, user_id),
        "colleague": Viewer(tenant_id, uuid4()),
        "stranger": Viewer(uuid4(), None),
        "administrator": Viewer(tenant_id, None),
    }[sees]

    found = await store.get(viewer, kept.observation.run_id)
    page = await store.list_page(viewer, agent=None, size=10, after=None)

    is_shown = sees in ("own", "administrator")
    assert found == (kept if is_shown else None)
    assert list(page.observations) == ([kept] if is_shown else [])


async def test_list_page_is_newest_first_without_gap_or_repetition(store: ObservationStore) -> None:
    viewer = Viewer(uuid4(), uuid4())
    assert viewer.user_id is not None
    for age in range(7):
        kept = observed(finished_at=NOW - timedelta(minutes=age // 2))
        await store.add(viewer.tenant_id, viewer.user_id, kept)

    seen: list[ScoredObservation] = []
    after: PagePosition | None = None
    while True:
        page = await store.list_page(viewer, agent=None, size=2, after=after)
        seen += page.observations
        if (after := page.next) is None:
            break

    times = [each.observation.finished_at for each in seen]
    assert times == sorted(times, reverse=True)
    assert len({each.observation.run_id for each in seen}) == len(seen) == 7


async def test_list_page_of_one_agent(store: ObservationStore) -> None:
    tenant_id, user_id = uuid4(), uuid4()
    for agent in ("assistant", "research"):
        await store.add(tenant_id, user_id, observed(agent=agent))

    page = await store.list_page(Viewer(tenant_id, user_id), agent="research", size=10, after=None)

    assert [each.observation.agent for each in page.observations] == ["research"]
