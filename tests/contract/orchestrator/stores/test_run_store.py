"""RunStore's conformance: which starts are accepted, and why the others are not."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from fakes.run_stores import Stores
from fakes.runs import TENANT, USER, event, finished, new_run
from flotilla_common.errors import AbortedError, FailedPreconditionError, NotFoundError
from flotilla_orchestrator.model import (
    RunStatus,
)

ME, OTHER = uuid4(), uuid4()


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
