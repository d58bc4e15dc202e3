"""What finished runs leave is sent at least once, however long a peer is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fakes.model_script import ScriptedModel, always
from fakes.run_engine import asked, engine_rig, until
from fakes.run_stores import Stores, stores_in_memory
from fakes.runs import finished, new_run
from flotilla.evaluator.v1 import evaluator_service_pb2 as evaluator
from flotilla.memory.v1 import memory_service_pb2 as memory
from flotilla_common.errors import FlotillaError, InvalidArgumentError, UnavailableError
from flotilla_common.identity import Identity
from flotilla_common.ids import new_id
from flotilla_common.lifecycle import stop_tasks
from flotilla_common.rpc.policy import LARGEST_MESSAGE
from flotilla_orchestrator.clients.delivery import Delivery
from flotilla_orchestrator.model import NewRun, OutboxEntry, OutboxKind
from flotilla_orchestrator.runs import outbox
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.runs.outbox import OutboxRelay, Send, retry_delay_s
from flotilla_orchestrator.stores.run_store import RunStore
from opentelemetry import trace
from prometheus_client import CollectorRegistry


async def leave(store: RunStore, payload: bytes, *, traceparent: str | None = None) -> NewRun:
    """Ends somebody's run that leaves one entry."""
    run, owner = new_run(tenant_id=new_id(), user_id=new_id(), traceparent=traceparent), new_id()
    await store.accept([run], owner=owner)
    end = finished(run, 2, outbox=[OutboxEntry(OutboxKind.COMMIT_TURN, payload)])
    assert await store.finish([end], owner=owner)
    return run


async def test_finished_run_is_told_to_memory_and_evaluator(tmp_path: Path) -> None:
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always("Hello there"))) as rig:
        new = asked(rig, "Hi")
        await rig.answer(new)
        await until(lambda: bool(rig.memory.turns and rig.evaluator.observed))

    turn = memory.CommitTurnRequest.FromString(rig.memory.turns[0])
    observation = evaluator.ObserveRequest.FromString(rig.evaluator.observed[0]).observation
    assert UUID(turn.run_id) == new.run_id
    assert turn.thread_id == ""
    assert [message.content for message in turn.messages] == ["Hi", "Hello there"]
    assert [message.content for message in observation.messages] == ["Hi", "Hello there"]
    assert observation.usage[0].output_tokens == 2
    # The question before it was asked for the person.
    assert [identity.run_id for identity in rig.memory.identities] == [None, new.run_id]


async def test_entry_waits_for_a_peer_that_is_away(tmp_path: Path) -> None:
    async with engine_rig(stores_in_memory(), tmp_path, ScriptedModel(always("Hello"))) as rig:
        rig.memory.is_away = True
        log = await rig.answer(asked(rig, "Hi"))
        await until(lambda: len(rig.memory.identities) > 2)

        rig.memory.is_away = False
        await until(lambda: bool(rig.memory.turns))

    assert log[-1].HasField("done")


def relay_to(stores: Stores, send: Send, *, interval_s: float = 0.5) -> OutboxRelay:
    metrics = RunMetrics(CollectorRegistry())
    return OutboxRelay(stores.runs, {OutboxKind.COMMIT_TURN: send}, metrics=metrics, interval_s=interval_s)


@asynccontextmanager
async def relaying(stores: Stores, send: Send, *, interval_s: float = 0.5) -> AsyncIterator[OutboxRelay]:
    """Yields a relay that works by itself."""
    relay = relay_to(stores, send, interval_s=interval_s)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        await stop_tasks([task])


async def relay_later(relay: OutboxRelay, stores: Stores) -> None:
    """Relays after every pause that an entry may have been given."""
    await stores.time.pass_by(timedelta(minutes=1))
    await relay.relay_once()


@dataclass
class Picky:
    """A peer that fails some payloads, each in its own way."""

    failures: dict[bytes, FlotillaError] = field(default_factory=dict)
    calls: list[list[bytes]] = field(default_factory=list)
    identities: list[Identity] = field(default_factory=list)
    breaks_on: bytes | None = None
    """A payload with which the whole call fails."""

    async def __call__(self, deliveries: Sequence[Delivery]) -> list[FlotillaError | None]:
        payloads = [delivery.payload for delivery in deliveries]
        self.calls.append(payloads)
        self.identities += [delivery.identity for delivery in deliveries]
        if self.breaks_on in payloads:
            raise InvalidArgumentError("broken")
        return [self.failures.get(payload) for payload in payloads]


async def test_entries_of_many_people_go_in_one_call_each_for_its_own() -> None:
    stores, peer = stores_in_memory(), Picky()
    runs = [await leave(stores.runs, b"%d" % number) for number in range(20)]

    await relay_to(stores, peer).relay_once()

    assert [len(payloads) for payloads in peer.calls] == [20]
    assert set(peer.identities) == {Identity(run.tenant_id, run.user_id, run_id=run.run_id) for run in runs}


async def test_entry_that_fails_touches_no_neighbour() -> None:
    stores = stores_in_memory()
    for payload in (b"good", b"refused", b"late"):
        await leave(stores.runs, payload)
    peer = Picky({b"refused": InvalidArgumentError("no"), b"late": UnavailableError("away")})
    relay = relay_to(stores, peer)

    await relay.relay_once()
    peer.failures.clear()
    await relay_later(relay, stores)
    await relay_later(relay, stores)

    assert peer.calls == [[b"good", b"refused", b"late"], [b"late"]]


async def test_call_that_is_refused_settles_no_entry() -> None:
    stores, peer = stores_in_memory(), Picky(breaks_on=b"bad")
    for payload in (b"good", b"bad"):
        await leave(stores.runs, payload)
    relay = relay_to(stores, peer)

    await relay.relay_once()
    peer.breaks_on = None
    await relay_later(relay, stores)

    assert [sorted(payloads) for payloads in peer.calls] == [[b"bad", b"good"]] * 2


async def test_entry_that_breaks_every_call_ends_up_alone() -> None:
    stores, peer = stores_in_memory(), Picky(breaks_on=b"bad")
    for payload in (b"good", b"bad"):
        await leave(stores.runs, payload)
    relay = relay_to(stores, peer)

    for _ in range(8):
        await relay_later(relay, stores)

    assert sorted(payloads for payloads in peer.calls if len(payloads) == 1) == [[b"bad"], [b"good"]]


async def test_entry_that_is_refused_alone_is_given_up() -> None:
    stores, peer = stores_in_memory(), Picky(breaks_on=b"bad")
    await leave(stores.runs, b"bad")
    relay = relay_to(stores, peer)

    for _ in range(3):
        await relay_later(relay, stores)

    assert peer.calls == [[b"bad"]]


async def test_entry_that_no_message_has_room_for_is_given_up() -> None:
    stores, peer = stores_in_memory(), Picky()
    for payload in (b"x" * LARGEST_MESSAGE, b"small"):
        await leave(stores.runs, payload)

    await relay_to(stores, peer).relay_once()

    assert peer.calls == [[b"small"]]
    await stores.time.pass_by(timedelta(minutes=1))
    assert await stores.runs.due_outbox(limit=10, lock_s=1) == []


async def test_entry_of_yesterday_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_MOST_ATTEMPTS", 3)
    stores, peer = stores_in_memory(), Picky({b"late": UnavailableError("away")})
    await leave(stores.runs, b"late")
    relay = relay_to(stores, peer)

    for _ in range(5):
        await relay_later(relay, stores)

    assert peer.calls == [[b"late"]] * 3


async def test_large_entries_are_spread_over_calls() -> None:
    stores, peer = stores_in_memory(), Picky()
    for _ in range(3):
        await leave(stores.runs, b"x" * 600_000)
    for _ in range(60):
        await leave(stores.runs, b"small")

    await relay_to(stores, peer).relay_once()

    assert sum(map(len, peer.calls)) == 63
    assert max(map(len, peer.calls)) <= 50
    assert max(sum(map(len, payloads)) for payloads in peer.calls) <= 1_000_000


async def test_run_whose_trace_is_recorded_is_sent_alone_in_its_trace() -> None:
    stores, traces = stores_in_memory(), []
    recorded, other = (f"00-{new_id().hex}-00f067aa0ba902b7-{flags}" for flags in ("01", "00"))
    for traceparent in (recorded, other, other):
        await leave(stores.runs, b"turn", traceparent=traceparent)

    async def send(deliveries: Sequence[Delivery]) -> list[FlotillaError | None]:
        trace_id = trace.get_current_span().get_span_context().trace_id
        traces.append((len(deliveries), f"{trace_id:032x}"))
        return [None] * len(deliveries)

    await relay_to(stores, send).relay_once()

    assert sorted(traces) == [(1, recorded.split("-")[1]), (2, f"{0:032x}")]


@pytest.mark.parametrize(("attempts", "longest_s"), [(1, 0.25), (5, 2), (59, 2), (100, 20)])
def test_retries_come_back_within_two_seconds_for_a_while(attempts: int, longest_s: float) -> None:
    assert 0 < retry_delay_s(attempts) <= longest_s


async def test_runs_that_end_all_the_time_share_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_SOON_S", 0.0)
    monkeypatch.setattr(outbox, "_APART_S", 1.0)
    stores, peer = stores_in_memory(), Picky()
    async with relaying(stores, peer) as relay:
        await leave(stores.runs, b"first")
        await until(lambda: len(peer.calls) == 1)
        await leave(stores.runs, b"second")
        relay.wake()
        await until(lambda: len(peer.calls) == 2)
        for payload in (b"third", b"fourth", b"fifth"):
            await leave(stores.runs, payload)
            relay.wake()
            await asyncio.sleep(0.02)
        await until(lambda: len(peer.calls) == 3)

    assert peer.calls == [[b"first"], [b"second"], [b"third", b"fourth", b"fifth"]]


async def test_run_that_ends_after_a_quiet_time_waits_for_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_APART_S", 3600.0)
    stores, peer = stores_in_memory(), Picky()
    async with relaying(stores, peer, interval_s=3600.0) as relay:
        # It looks for what is there before it waits.
        await asyncio.sleep(0.02)
        await leave(stores.runs, b"lone")
        relay.wake()
        await until(lambda: peer.calls == [[b"lone"]])


async def test_runs_that_leave_nothing_do_not_make_the_relay_ask_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_SOON_S", 0.0)
    monkeypatch.setattr(outbox, "_APART_S", 3600.0)
    stores = stores_in_memory()
    asked: list[int] = []
    due_outbox = stores.runs.due_outbox

    async def counted(**how: Any) -> Any:
        asked.append(1)
        return await due_outbox(**how)

    monkeypatch.setattr(stores.runs, "due_outbox", counted)
    async with relaying(stores, Picky()) as relay:
        for _ in range(20):
            await asyncio.sleep(0.005)
            relay.wake()

    # As it began, and after the first of them.
    assert len(asked) <= 2
