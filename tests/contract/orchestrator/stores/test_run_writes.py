"""RunStore's conformance: what owners write, and what is left of a run at its end."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from fakes.run_stores import Stores
from fakes.runs import TENANT, USER, append, checkpoint, event, finished, new_run
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
