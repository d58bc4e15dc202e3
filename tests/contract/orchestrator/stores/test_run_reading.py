"""The readers' conformance, the outbox among them: who may read what, and in which order."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from fakes.run_stores import Stores
from fakes.runs import TENANT, USER, append, event, finished, new_run
from flotilla_common.errors import NotFoundError
from flotilla_orchestrator.model import (
    OutboxEntry,
    OutboxKind,
)
from flotilla_orchestrator.stores.run_store import PAGE_BYTES, RunAppend, is_full

ME, OTHER = uuid4(), uuid4()


@pytest.mark.parametrize(("tenant", "user"), [(uuid4(), USER), (TENANT, uuid4())])
async def test_somebody_elses_run_is_not_found(stores: Stores, tenant: object, user: object) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    whose = {"tenant_id": tenant, "user_id": user}

    with pytest.raises(NotFoundError):
        await stores.reader.get_run(run.run_id, **whose)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        await stores.runs.request_cancel(run.run_id, **whose)  # type: ignore[arg-type]
    assert await stores.reader.list_runs(run.thread_id, **whose) == []  # type: ignore[arg-type]
    assert await stores.runs.cancel_requests([run.run_id]) == set()


async def test_runs_of_a_thread_come_newest_first_in_pages(stores: Stores) -> None:
    first = new_run()
    runs = [first, *(new_run(thread_id=first.thread_id) for _ in range(2))]
    for run in runs:
        await stores.runs.accept([run], owner=ME)
        await stores.runs.finish([finished(run, 2)], owner=ME)

    page = await stores.reader.list_runs(first.thread_id, tenant_id=TENANT, user_id=USER, limit=2)
    rest = await stores.reader.list_runs(first.thread_id, tenant_id=TENANT, user_id=USER, before=page[-1].run_id)

    assert [run.run_id for run in (*page, *rest)] == [run.run_id for run in reversed(runs)]


async def test_page_of_events_ends_when_it_is_large(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    large = [event(run, number, bytes(PAGE_BYTES // 2)) for number in range(2, 7)]
    await stores.runs.append([RunAppend(run.run_id, 1, large)])

    page = await stores.events.read(run.run_id, after_sequence=1)
    rest = await stores.events.read(run.run_id, after_sequence=5)

    assert [one.sequence for one in page] == [2, 3]
    assert is_full(page, limit=500)
    assert [one.sequence for one in rest] == [6]
    assert not is_full(rest, limit=500)


async def test_events_of_many_runs_are_read_at_once(stores: Stores) -> None:
    runs = sorted((new_run(), new_run()), key=lambda run: run.run_id)
    await stores.runs.accept(runs, owner=ME)
    await stores.runs.append([append(run, 2, 3) for run in runs])

    events = await stores.events.read_many({runs[0].run_id: 1, runs[1].run_id: 2, uuid4(): 0})

    assert [(one.run_id, one.sequence) for one in events] == [
        (runs[0].run_id, 2),
        (runs[0].run_id, 3),
        (runs[1].run_id, 3),
    ]


async def test_events_are_read_in_pages(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    await stores.runs.append([append(run, *range(2, 8))])

    page = await stores.events.read(run.run_id, after_sequence=2, limit=3)

    assert [one.sequence for one in page] == [3, 4, 5]


async def test_outbox_entry_comes_again_until_it_is_settled(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    await stores.runs.finish([finished(run, 2, outbox=[OutboxEntry(OutboxKind.OBSERVE, b"seen")])], owner=ME)

    [first] = await stores.runs.due_outbox(limit=10, lock_s=30)
    locked = await stores.runs.due_outbox(limit=10, lock_s=30)
    await stores.time.pass_by(timedelta(seconds=31))
    [again] = await stores.runs.due_outbox(limit=10, lock_s=30)
    await stores.runs.settle_outbox([], retry_in_s={again.id: 100})
    await stores.time.pass_by(timedelta(seconds=31))
    put_off = await stores.runs.due_outbox(limit=10, lock_s=30)
    await stores.time.pass_by(timedelta(seconds=100))
    [last] = await stores.runs.due_outbox(limit=10, lock_s=30)
    await stores.runs.settle_outbox([last.id], retry_in_s={})
    await stores.time.pass_by(timedelta(days=1))

    assert (locked, put_off) == ([], [])
    assert [first.attempts, again.attempts, last.attempts] == [1, 2, 3]
    assert await stores.runs.due_outbox(limit=10, lock_s=30) == []


async def test_empty_batches_are_nothing(stores: Stores) -> None:
    assert await stores.runs.accept([], owner=ME) == set()
    assert await stores.runs.append([]) == set()
    assert await stores.runs.finish([], owner=ME) == set()
    assert await stores.events.read_many({}) == []
