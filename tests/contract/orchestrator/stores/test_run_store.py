"""The conformance suite of RunStore and of the readers beside it."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from fakes.run_stores import Stores
from fakes.runs import TENANT, USER, append, checkpoint, event, finished, new_run
from flotilla_common.errors import AbortedError, FailedPreconditionError, NotFoundError
from flotilla_orchestrator.model import (
    ErrorClass,
    ModelUsage,
    OutboxEntry,
    OutboxKind,
    PendingWrites,
    RunError,
    RunStatus,
)
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery

ME, OTHER = uuid4(), uuid4()
LEASE_ENDS = timedelta(seconds=7)


async def test_accepted_run_is_running_with_its_first_event(stores: Stores) -> None:
    run = new_run()

    accepted = await stores.runs.accept([run], owner=ME)

    read = await stores.reader.get_run(run.run_id, tenant_id=TENANT, user_id=USER)
    assert accepted == {run.run_id}
    assert (read.status, read.attempt, read.agent, read.metadata) == (RunStatus.RUNNING, 1, run.agent, run.metadata)
    assert list(await stores.events.read(run.run_id, after_sequence=0)) == [event(run, 1, run.accepted_event)]


async def test_accept_sent_again_after_its_answer_was_lost_is_accepted(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)

    assert await stores.runs.accept([run], owner=ME) == {run.run_id}
    assert await stores.runs.accept([run], owner=OTHER) == set()


async def test_start_of_a_known_run_is_refused_and_explained_by_it(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    retried = new_run(run_id=run.run_id, accepted_event=b"another attempt")

    assert await stores.runs.accept([retried], owner=ME) == set()
    assert (await stores.runs.explain_refusal(retried)).run_id == run.run_id


async def test_run_id_with_another_body_is_a_reused_key(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    other = new_run(run_id=run.run_id, body_hash=b"other", accepted_event=b"other")

    await stores.runs.accept([other], owner=ME)

    with pytest.raises(FailedPreconditionError) as caught:
        await stores.runs.explain_refusal(other)
    assert caught.value.reason == "idempotency_key_reused"


async def test_same_idempotency_key_is_the_same_run(stores: Stores) -> None:
    key = str(uuid4())
    first, second = new_run(idempotency_key=key), new_run(idempotency_key=key)

    accepted = await stores.runs.accept([first], owner=ME) | await stores.runs.accept([second], owner=ME)

    assert accepted == {first.run_id}
    assert (await stores.runs.explain_refusal(second)).run_id == first.run_id
    with pytest.raises(NotFoundError):
        await stores.threads.get(second.thread_id, tenant_id=TENANT, user_id=USER)


@pytest.mark.parametrize("changes", [{"body_hash": b"other"}, {"user_id": uuid4()}])
async def test_same_idempotency_key_with_another_request_is_refused(stores: Stores, changes: dict[str, object]) -> None:
    key = str(uuid4())
    first, second = new_run(idempotency_key=key), new_run(idempotency_key=key, **changes)

    await stores.runs.accept([first], owner=ME)
    accepted = await stores.runs.accept([second], owner=ME)

    assert accepted == set()
    with pytest.raises(FailedPreconditionError) as caught:
        await stores.runs.explain_refusal(second)
    assert caught.value.reason == "idempotency_key_reused"


@pytest.mark.parametrize("changes", [{"wire": "langgraph"}, {"tenant_id": uuid4()}])
async def test_idempotency_key_counts_within_one_tenant_and_wire(stores: Stores, changes: dict[str, object]) -> None:
    key = str(uuid4())

    runs = [new_run(idempotency_key=key), new_run(idempotency_key=key, **changes)]

    assert await stores.runs.accept(runs, owner=ME) == {run.run_id for run in runs}


async def test_idempotency_key_is_free_again_after_a_day(stores: Stores) -> None:
    key = str(uuid4())
    first, second = new_run(idempotency_key=key), new_run(idempotency_key=key)
    await stores.runs.accept([first], owner=ME)
    await stores.time.pass_by(timedelta(hours=25))

    assert await stores.runs.accept([second], owner=ME) == {second.run_id}


async def test_one_batch_accepts_what_fits_and_refuses_the_rest(stores: Stores) -> None:
    busy = new_run()
    same_thread = new_run(thread_id=busy.thread_id)
    unknown_thread = new_run(create_thread=False)
    fits = new_run()

    accepted = await stores.runs.accept([busy, same_thread, unknown_thread, fits], owner=ME)

    assert accepted >= {fits.run_id}
    assert len(accepted & {busy.run_id, same_thread.run_id}) == 1
    assert unknown_thread.run_id not in accepted


async def test_run_on_a_busy_thread_is_aborted(stores: Stores) -> None:
    first = new_run()
    second = new_run(thread_id=first.thread_id)
    await stores.runs.accept([first], owner=ME)
    await stores.runs.accept([second], owner=ME)

    with pytest.raises(AbortedError) as caught:
        await stores.runs.explain_refusal(second)
    assert caught.value.reason == "thread_busy"


@pytest.mark.parametrize("owner", [{"user_id": uuid4()}, {"tenant_id": uuid4()}])
async def test_run_on_somebody_elses_thread_is_not_found(stores: Stores, owner: dict[str, object]) -> None:
    theirs = new_run(**owner)
    mine = new_run(thread_id=theirs.thread_id)
    await stores.runs.accept([theirs], owner=ME)
    await stores.runs.finish([finished(theirs, 2)], owner=ME)

    assert await stores.runs.accept([mine], owner=ME) == set()
    with pytest.raises(NotFoundError) as caught:
        await stores.runs.explain_refusal(mine)
    assert caught.value.reason == "thread_not_found"


async def test_run_on_an_unknown_thread_is_not_found(stores: Stores) -> None:
    run = new_run(create_thread=False)
    await stores.runs.accept([run], owner=ME)

    with pytest.raises(NotFoundError):
        await stores.runs.explain_refusal(run)


async def test_ephemeral_thread_expires(stores: Stores) -> None:
    run = new_run(thread_ttl_s=3600.0)
    await stores.runs.accept([run], owner=ME)

    thread = await stores.threads.get(run.thread_id, tenant_id=TENANT, user_id=USER)

    assert thread.expires_at is not None
    assert thread.expires_at - thread.updated_at == timedelta(hours=1)


async def test_append_stores_events_checkpoints_and_writes(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    row = checkpoint(run, next_nodes=("tools",))
    task = PendingWrites(
        run.thread_id, "", row.checkpoint_id, run.run_id, "task", "~path", [(0, "a", b"1"), (-3, "b", b"2")]
    )

    owned = await stores.runs.append([append(run, 2, 3, checkpoints=[row], writes=[task])])

    [stored] = await stores.checkpoints(TENANT).find(CheckpointQuery(thread_id=run.thread_id))
    assert owned == {run.run_id}
    assert [one.sequence for one in await stores.events.read(run.run_id, after_sequence=1)] == [2, 3]
    assert (stored.row.checkpoint_id, list(stored.row.next_nodes)) == (row.checkpoint_id, ["tools"])
    assert {(write.channel, write.value) for write in stored.writes} == {("a", b"1"), ("b", b"2")}


@pytest.mark.parametrize("with_checkpoint", [False, True])
async def test_append_sent_again_is_saved_once(stores: Stores, with_checkpoint: bool) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    batch = [append(run, 2, 3, checkpoints=[checkpoint(run)] if with_checkpoint else [])]

    owned = [await stores.runs.append(batch), await stores.runs.append(batch)]

    assert owned == [{run.run_id}, {run.run_id}]
    assert [one.sequence for one in await stores.events.read(run.run_id, after_sequence=0)] == [1, 2, 3]


async def test_other_event_under_a_taken_number_is_refused(stores: Stores) -> None:
    run, neighbour = new_run(), new_run()
    await stores.runs.accept([run, neighbour], owner=ME)
    await stores.runs.append([append(run, 2)])
    clash = append(run, checkpoints=[checkpoint(run)])
    clash.events.append(event(run, 2, b"another"))  # type: ignore[attr-defined]

    owned = await stores.runs.append([clash, append(neighbour, 2)])

    assert owned == {neighbour.run_id}
    assert await stores.checkpoints(TENANT).find(CheckpointQuery(thread_id=run.thread_id)) == []


async def test_stale_epoch_writes_nothing(stores: Stores) -> None:
    run, mine = new_run(), new_run()
    await stores.runs.accept([run], owner=ME)
    await stores.time.pass_by(LEASE_ENDS)
    await stores.runs.claim(owner=OTHER, limit=10)
    await stores.runs.accept([mine], owner=ME)

    owned = await stores.runs.append([append(run, 2, checkpoints=[checkpoint(run)]), append(mine, 2)])
    ended = await stores.runs.finish([finished(run, 3, checkpoints=[checkpoint(run)])], owner=ME)

    assert (owned, ended) == ({mine.run_id}, set())
    assert len(await stores.events.read(run.run_id, after_sequence=0)) == 1
    assert await stores.checkpoints(TENANT).find(CheckpointQuery(thread_id=run.thread_id)) == []


async def test_finish_stores_everything_of_the_end(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    usage = [ModelUsage("a", 1, 2, 3), ModelUsage("b", 4, 5, 6)]
    end = finished(
        run,
        3,
        events=[event(run, 2)],
        usage=usage,
        checkpoints=[checkpoint(run)],
        outbox=[OutboxEntry(OutboxKind.COMMIT_TURN, b"turn"), OutboxEntry(OutboxKind.OBSERVE, b"seen")],
    )

    ended = await stores.runs.finish([end], owner=ME)

    read = await stores.reader.get_run(run.run_id, tenant_id=TENANT, user_id=USER)
    assert ended == {run.run_id}
    assert (read.status, read.finish_reason, read.answer) == (RunStatus.SUCCEEDED, end.finish_reason, end.answer)
    assert (list(read.usage), read.finished_at is not None) == (usage, True)
    assert [one.payload for one in await stores.events.read(run.run_id, after_sequence=1)] == [b"token", b"done"]
    assert len(await stores.checkpoints(TENANT).find(CheckpointQuery(thread_id=run.thread_id))) == 1
    assert await stores.runs.beat({run.run_id: 1}, owner=ME) == {}
    due = await stores.runs.due_outbox(limit=10, lock_s=60)
    assert {(entry.kind, entry.payload, entry.user_id) for entry in due} == {
        (OutboxKind.COMMIT_TURN, b"turn", USER),
        (OutboxKind.OBSERVE, b"seen", USER),
    }


async def test_finish_sent_again_is_the_same_end(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    end = finished(run, 2, usage=[ModelUsage("a", 1, 2, 3)], outbox=[OutboxEntry(OutboxKind.OBSERVE, b"seen")])

    ended = [await stores.runs.finish([end], owner=ME), await stores.runs.finish([end], owner=ME)]

    assert ended == [{run.run_id}, {run.run_id}]
    assert len(await stores.runs.due_outbox(limit=10, lock_s=60)) == 1


async def test_finish_after_an_append_whose_answer_was_lost_keeps_both(stores: Stores) -> None:
    run = new_run()
    row = checkpoint(run)
    await stores.runs.accept([run], owner=ME)
    await stores.runs.append([append(run, 2, checkpoints=[row])])

    ended = await stores.runs.finish([finished(run, 3, events=[event(run, 2)], checkpoints=[row])], owner=ME)

    assert ended == {run.run_id}
    assert [one.sequence for one in await stores.events.read(run.run_id, after_sequence=0)] == [1, 2, 3]


async def test_failed_run_keeps_its_error(stores: Stores) -> None:
    run = new_run()
    await stores.runs.accept([run], owner=ME)
    error = RunError(ErrorClass.BUDGET, "step_limit", "too many steps")

    end = finished(run, 2, status=RunStatus.FAILED, error=error, answer=None, finish_reason=None)
    await stores.runs.finish([end], owner=ME)

    read = await stores.reader.get_run(run.run_id, tenant_id=TENANT, user_id=USER)
    assert (read.status, read.error, read.answer, read.finish_reason) == (RunStatus.FAILED, error, None, None)


async def test_waiting_run_is_not_finished_and_keeps_its_interrupt(stores: Stores) -> None:
    run = new_run()
    row = checkpoint(run)
    await stores.runs.accept([run], owner=ME)
    task = PendingWrites(run.thread_id, "", row.checkpoint_id, run.run_id, "task", "", [(-3, "__interrupt__", b"?")])

    end = finished(run, 2, status=RunStatus.WAITING, checkpoints=[row], writes=[task])
    await stores.runs.finish([end], owner=ME)

    read = await stores.reader.get_run(run.run_id, tenant_id=TENANT, user_id=USER)
    [stored] = await stores.checkpoints(TENANT).find(CheckpointQuery(thread_id=run.thread_id))
    assert (read.status, read.finished_at) == (RunStatus.WAITING, None)
    assert [write.value for write in stored.writes] == [b"?"]


async def test_thread_is_free_after_its_run_ended(stores: Stores) -> None:
    first = new_run()
    second = new_run(thread_id=first.thread_id, create_thread=False)
    await stores.runs.accept([first], owner=ME)
    await stores.runs.finish([finished(first, 2)], owner=ME)

    assert await stores.runs.accept([second], owner=ME) == {second.run_id}


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


async def test_cancel_that_the_owner_does_not_heed_is_claimed_whatever_the_lease(stores: Stores) -> None:
    run, other = new_run(), new_run()
    await stores.runs.accept([run, other], owner=ME)
    await stores.runs.request_cancel(run.run_id, tenant_id=TENANT, user_id=USER)
    await stores.time.pass_by(timedelta(seconds=1))
    early = await stores.runs.claim(owner=OTHER, limit=0)
    await stores.time.pass_by(timedelta(seconds=1))

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
    assert lease_s == pytest.approx(6, abs=0.5)
    assert cancel_s == pytest.approx(1.5, abs=0.5)
    assert late_s == pytest.approx(-0.5, abs=0.5)
    assert claimed_s == pytest.approx(1.5, abs=0.5)


async def test_time_limit_of_a_claimed_run_counts_from_its_start(stores: Stores) -> None:
    run = new_run(time_limit_s=60)
    await stores.runs.accept([run], owner=ME)
    await stores.time.pass_by(timedelta(seconds=20))

    [claimed] = await stores.runs.claim(owner=OTHER, limit=1)

    assert claimed.remaining_s == pytest.approx(40, abs=1)
