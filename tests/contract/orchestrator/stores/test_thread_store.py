"""The conformance suite of ThreadStore."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from fakes.run_stores import Stores
from fakes.runs import TENANT, append, checkpoint, finished, new_run
from flotilla_common.errors import AbortedError, AlreadyExistsError, NotFoundError
from flotilla_orchestrator.model import RunStatus, Thread, ThreadStatus
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery
from flotilla_orchestrator.stores.thread_store import ThreadQuery

ME = uuid4()


@pytest.fixture
def user_id() -> UUID:
    return uuid4()


async def make(stores: Stores, user_id: UUID, **changes: Any) -> Thread:
    given = {"metadata": {}, "ttl_s": None, "may_exist": False, "tenant_id": TENANT, **changes}
    return await stores.threads.create(given.pop("thread_id", uuid4()), user_id=user_id, **given)


async def test_created_thread_is_idle_and_keeps_its_metadata(stores: Stores, user_id: UUID) -> None:
    made = await make(stores, user_id, metadata={"title": "Trip\x00", "tags": {"a": 1}})

    found = await stores.threads.get(made.thread_id, tenant_id=TENANT, user_id=user_id)

    assert found == made
    assert (found.status, found.expires_at) == (ThreadStatus.IDLE, None)
    assert str(found.metadata["title"]).startswith("Trip")


async def test_taken_thread_id_is_refused_unless_it_may_exist(stores: Stores, user_id: UUID) -> None:
    made = await make(stores, user_id)

    same = await make(stores, user_id, thread_id=made.thread_id, may_exist=True)

    assert same == made
    with pytest.raises(AlreadyExistsError):
        await make(stores, user_id, thread_id=made.thread_id)


@pytest.mark.parametrize("changes", [{"user_id": uuid4()}, {"tenant_id": uuid4()}])
async def test_somebody_elses_thread_is_taken_and_not_found(
    stores: Stores, user_id: UUID, changes: dict[str, UUID]
) -> None:
    made = await make(stores, user_id)
    whose: dict[str, Any] = {"tenant_id": TENANT, "user_id": user_id, **changes}

    with pytest.raises(AlreadyExistsError):
        await stores.threads.create(made.thread_id, metadata={}, ttl_s=None, may_exist=True, **whose)
    with pytest.raises(NotFoundError):
        await stores.threads.get(made.thread_id, **whose)
    with pytest.raises(NotFoundError):
        await stores.threads.update_metadata(made.thread_id, metadata={"a": 1}, **whose)
    with pytest.raises(NotFoundError):
        await stores.threads.delete(made.thread_id, **whose)
    assert await stores.threads.search(ThreadQuery({}), **whose) == []


async def test_metadata_keys_are_replaced_one_by_one(stores: Stores, user_id: UUID) -> None:
    made = await make(stores, user_id, metadata={"a": 1, "b": {"x": 1}})

    changed = await stores.threads.update_metadata(
        made.thread_id, tenant_id=TENANT, user_id=user_id, metadata={"b": 2, "c": 3}
    )

    assert changed.metadata == {"a": 1, "b": 2, "c": 3}
    assert changed.updated_at > made.updated_at


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (None, ThreadStatus.BUSY),
        (RunStatus.SUCCEEDED, ThreadStatus.IDLE),
        (RunStatus.CANCELLED, ThreadStatus.IDLE),
        (RunStatus.WAITING, ThreadStatus.INTERRUPTED),
        (RunStatus.FAILED, ThreadStatus.ERROR),
        (RunStatus.TIMED_OUT, ThreadStatus.ERROR),
        (RunStatus.DEAD_LETTERED, ThreadStatus.ERROR),
    ],
)
async def test_thread_stands_as_its_last_run_left_it(
    stores: Stores, user_id: UUID, end: RunStatus | None, status: ThreadStatus
) -> None:
    run = new_run(user_id=user_id)
    await stores.runs.accept([run], owner=ME)
    if end is not None:
        await stores.runs.finish([finished(run, 2, status=end)], owner=ME)

    found = await stores.threads.search(ThreadQuery({}, status=status), tenant_id=TENANT, user_id=user_id)

    assert [(thread.thread_id, thread.status) for thread in found] == [(run.thread_id, status)]


async def test_threads_are_found_by_metadata_last_updated_first_in_pages(stores: Stores, user_id: UUID) -> None:
    made = [await make(stores, user_id, metadata={"graph": "a", "n": number}) for number in range(3)]
    await make(stores, user_id, metadata={"graph": "b"})
    whose: dict[str, Any] = {"tenant_id": TENANT, "user_id": user_id}
    await stores.threads.update_metadata(made[0].thread_id, metadata={"n": 9}, **whose)

    page = await stores.threads.search(ThreadQuery({"graph": "a"}, limit=2), **whose)
    before = (page[-1].updated_at, page[-1].thread_id)
    rest = await stores.threads.search(ThreadQuery({"graph": "a"}, before=before), **whose)

    assert [thread.thread_id for thread in (*page, *rest)] == [made[index].thread_id for index in (0, 2, 1)]


async def test_ephemeral_threads_are_not_listed(stores: Stores, user_id: UUID) -> None:
    await stores.runs.accept([new_run(user_id=user_id, thread_ttl_s=60.0)], owner=ME)
    kept = await make(stores, user_id, ttl_s=60.0)

    found = await stores.threads.search(ThreadQuery({}), tenant_id=TENANT, user_id=user_id)

    assert [thread.thread_id for thread in found] == [kept.thread_id]


async def test_deleted_thread_takes_its_runs_events_and_checkpoints_along(stores: Stores, user_id: UUID) -> None:
    run = new_run(user_id=user_id)
    await stores.runs.accept([run], owner=ME)
    await stores.runs.append([append(run, 2, checkpoints=[checkpoint(run)])])
    await stores.runs.finish([finished(run, 3)], owner=ME)

    await stores.threads.delete(run.thread_id, tenant_id=TENANT, user_id=user_id)

    with pytest.raises(NotFoundError):
        await stores.threads.get(run.thread_id, tenant_id=TENANT, user_id=user_id)
    with pytest.raises(NotFoundError):
        await stores.reader.get_run(run.run_id, tenant_id=TENANT, user_id=user_id)
    assert await stores.events.read(run.run_id, after_sequence=0) == []
    assert await stores.checkpoints(TENANT).find(CheckpointQuery(thread_id=run.thread_id)) == []


async def test_busy_thread_is_not_deleted(stores: Stores, user_id: UUID) -> None:
    run = new_run(user_id=user_id)
    await stores.runs.accept([run], owner=ME)

    with pytest.raises(AbortedError) as caught:
        await stores.threads.delete(run.thread_id, tenant_id=TENANT, user_id=user_id)
    assert caught.value.reason == "thread_busy"
