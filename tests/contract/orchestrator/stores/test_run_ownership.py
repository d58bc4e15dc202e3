"""RunStore's conformance: leases, claims and cancels."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from fakes.run_stores import Stores
from fakes.runs import TENANT, USER, append, finished, new_run
from flotilla_orchestrator.model import (
    ModelUsage,
    RunStatus,
)

ME, OTHER = uuid4(), uuid4()
LEASE_ENDS = timedelta(seconds=7)


async def test_claim_takes_over_what_expired_and_knows_its_last_number(stores: Stores) -> None:
    run = new_run(traceparent="00-a-b-01")
    await stores.runs.accept([run], owner=ME)
    await stores.runs.append([append(run, 2, 3)])
    await stores.time.pass_by(LEASE_ENDS)
    alive = new_run()
    await stores.runs.accept([alive], owner=ME)

    [claimed] = await stores.runs.claim(owner=OTHER, limit=10)

    assert (claimed.run_id, claimed.epoch, claimed.attempt, claimed.last_sequence) == (run.run_id, 2, 2, 3)
    assert (claimed.input, claimed.traceparent, claimed.cancel_requested) == (run.input, run.traceparent, False)
    assert await stores.runs.append([append(run, 4, epoch=2)]) == {run.run_id}
    assert await stores.runs.finish([finished(run, 5, epoch=2)], owner=OTHER) == {run.run_id}


async def test_claim_takes_no_more_than_asked_for(stores: Stores) -> None:
    runs = [new_run() for _ in range(3)]
    await stores.runs.accept(runs, owner=ME)
    await stores.time.pass_by(LEASE_ENDS)

    claims = [await stores.runs.claim(owner=OTHER, limit=2) for _ in range(3)]

    assert [len(claim) for claim in claims] == [2, 1, 0]


async def test_handed_back_run_is_claimed_at_once_without_spending_an_attempt(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)

    await stores.runs.release({run.run_id: 1}, owner=ME)
    late_beat = await stores.runs.beat({run.run_id: 1}, owner=ME)
    [claimed] = await stores.runs.claim(owner=OTHER, limit=10)

    assert late_beat == {}
    assert (claimed.epoch, claimed.attempt) == (2, 1)


async def test_release_of_a_lost_run_changes_nothing(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    await stores.time.pass_by(LEASE_ENDS)
    await stores.runs.claim(owner=OTHER, limit=10)

    await stores.runs.release({run.run_id: 1}, owner=ME)

    assert await stores.runs.claim(owner=ME, limit=10) == []


async def test_beat_keeps_a_lease_alive_and_tells_of_cancels(stores: Stores) -> None:
    kept, cancelled, lost = new_run(), new_run(), new_run()
    await stores.runs.accept([kept, cancelled, lost], owner=ME)
    await stores.runs.request_cancel(cancelled.run_id, tenant_id=TENANT, user_id=USER)
    await stores.time.pass_by(timedelta(seconds=4))

    beaten = await stores.runs.beat({kept.run_id: 1, cancelled.run_id: 1, lost.run_id: 2}, owner=ME)
    await stores.time.pass_by(timedelta(seconds=4))
    claimed = await stores.runs.claim(owner=OTHER, limit=10)

    assert beaten == {kept.run_id: False, cancelled.run_id: True}
    assert {run.run_id for run in claimed} == {lost.run_id, cancelled.run_id}


async def test_cancel_is_kept_and_asked_for_in_one_call(stores: Stores) -> None:
    run, other = new_run(), new_run()
    await stores.runs.accept([run, other], owner=ME)

    asked = await stores.runs.request_cancel(run.run_id, tenant_id=TENANT, user_id=USER)

    assert asked.run_id == run.run_id
    assert await stores.runs.cancel_requests([run.run_id, other.run_id]) == {run.run_id}
    assert (await stores.runs.request_cancel(run.run_id, tenant_id=TENANT, user_id=USER)).run_id == run.run_id


async def test_cancel_of_a_finished_run_leaves_it_as_it_is(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    await stores.runs.finish([finished(run, 2)], owner=ME)

    asked = await stores.runs.request_cancel(run.run_id, tenant_id=TENANT, user_id=USER)

    assert asked.status is RunStatus.SUCCEEDED
    assert await stores.runs.cancel_requests([run.run_id]) == set()


async def test_cancel_that_the_owner_does_not_heed_is_claimed_whatever_the_lease(stores: Stores) -> None:
    run, other = new_run(), new_run()
    await stores.runs.accept([run, other], owner=ME)
    await stores.runs.request_cancel(run.run_id, tenant_id=TENANT, user_id=USER)
    await stores.time.pass_by(timedelta(seconds=0.5))
    early = await stores.runs.claim(owner=OTHER, limit=0)
    await stores.time.pass_by(timedelta(seconds=1.5))

    claims = [await stores.runs.claim(owner=OTHER, limit=0) for _ in range(2)]

    assert early == []
    assert [[(one.run_id, one.epoch, one.attempt, one.cancel_requested) for one in claim] for claim in claims] == [
        [(run.run_id, 2, 1, True)],
        [],
    ]
    assert await stores.runs.append([append(run, 2)]) == set()
    assert await stores.runs.beat({run.run_id: 1}, owner=ME) == {}
    end = finished(run, 2, epoch=2, status=RunStatus.CANCELLED)
    assert await stores.runs.finish([end], owner=OTHER) == {run.run_id}
    assert await stores.runs.claim(owner=OTHER, limit=0) == []


async def test_cancel_is_claimed_again_when_its_claimer_does_not_end_it(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    await stores.runs.request_cancel(run.run_id, tenant_id=TENANT, user_id=USER)
    await stores.time.pass_by(timedelta(seconds=2))
    await stores.runs.claim(owner=OTHER, limit=0)
    await stores.time.pass_by(timedelta(seconds=2))

    [claimed] = await stores.runs.claim(owner=ME, limit=0)

    assert (claimed.epoch, claimed.attempt) == (3, 1)


async def test_cancelled_run_that_waits_for_a_person_is_claimed_at_once(stores: Stores) -> None:
    run, usage = new_run(), (ModelUsage("m", 1, 2, 3),)
    await stores.runs.accept([run], owner=ME)
    waiting = finished(run, 2, status=RunStatus.WAITING, finish_reason=None, answer=None, usage=usage)
    await stores.runs.finish([waiting], owner=ME)
    await stores.runs.request_cancel(run.run_id, tenant_id=TENANT, user_id=USER)

    claims = [await stores.runs.claim(owner=OTHER, limit=0) for _ in range(2)]

    assert [[(one.run_id, one.epoch, one.last_sequence) for one in claim] for claim in claims] == [
        [(run.run_id, 2, 2)],
        [],
    ]
    end = finished(run, 3, epoch=2, status=RunStatus.CANCELLED, usage=usage)
    assert await stores.runs.finish([end], owner=OTHER) == {run.run_id}
    read = await stores.reader.get_run(run.run_id, tenant_id=TENANT, user_id=USER)
    assert (read.status, read.usage) == (RunStatus.CANCELLED, usage)


async def test_next_claim_is_when_the_first_lease_ends_or_a_cancel_was_not_heeded(stores: Stores) -> None:
    run = new_run()
    nothing = await stores.runs.next_claim_s()

    await stores.runs.accept([run], owner=ME)
    lease_s = await stores.runs.next_claim_s()
    await stores.runs.request_cancel(run.run_id, tenant_id=TENANT, user_id=USER)
    cancel_s = await stores.runs.next_claim_s()
    await stores.time.pass_by(timedelta(seconds=2))
    late_s = await stores.runs.next_claim_s()
    await stores.runs.claim(owner=OTHER, limit=1)
    claimed_s = await stores.runs.next_claim_s()

    assert nothing is None
    assert lease_s == pytest.approx(6, abs=1)
    assert cancel_s == pytest.approx(1.5, abs=1)
    assert late_s == pytest.approx(-1, abs=0.9)
    assert claimed_s == pytest.approx(1.5, abs=1)


async def test_time_limit_of_a_claimed_run_counts_from_its_start(stores: Stores) -> None:
    run = new_run(time_limit_s=60)
    await stores.runs.accept([run], owner=ME)
    await stores.time.pass_by(timedelta(seconds=20))

    [claimed] = await stores.runs.claim(owner=OTHER, limit=1)

    assert claimed.remaining_s == pytest.approx(40, abs=1)
