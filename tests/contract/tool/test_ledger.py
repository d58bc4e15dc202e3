"""What every ledger does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest
from flotilla_common.errors import InvalidArgumentError
from flotilla_tool.model import Caller, FinishedCall, LedgerKey, LedgerState, Outcome, Result
from flotilla_tool.stores.ledger import Ledger

DONE = Result(Outcome.SUCCEEDED, "done", duration_s=0.25)


def somebody() -> Caller:
    return Caller(uuid4(), uuid4(), uuid4())


def key(name: str = "k", *, tool: str = "transfer", digest: bytes = b"d", needs_intent: bool = True) -> LedgerKey:
    return LedgerKey(name, tool, digest, needs_intent)


async def test_claim_of_a_new_key_is_free_once(ledger: Ledger) -> None:
    caller = somebody()

    states = [(await ledger.claim(caller, [key()]))["k"].state for _ in range(3)]

    assert states == [LedgerState.FREE, LedgerState.INTENDED, LedgerState.INTENDED]


async def test_claim_without_intent_stays_free(ledger: Ledger) -> None:
    caller = somebody()

    states = [(await ledger.claim(caller, [key(needs_intent=False)]))["k"].state for _ in range(2)]

    assert states == [LedgerState.FREE, LedgerState.FREE]


async def test_exactly_one_of_concurrent_claims_is_free(ledger: Ledger) -> None:
    caller = somebody()

    claims = await asyncio.gather(*(ledger.claim(caller, [key("a"), key("b")]) for _ in range(12)))

    for name in ("a", "b"):
        states = [claim[name].state for claim in claims]
        assert states.count(LedgerState.FREE) == 1
        assert states.count(LedgerState.INTENDED) == 11


async def test_recorded_result_is_replayed(ledger: Ledger) -> None:
    caller = somebody()
    failed = Result(Outcome.FAILED, "no", reason="declined")
    keys = [key("a"), key("b", needs_intent=False)]
    await ledger.claim(caller, keys)

    await ledger.record(caller, [FinishedCall(keys[0], DONE), FinishedCall(keys[1], failed)])
    entries = await ledger.claim(caller, [*keys, key("c")])

    assert entries["a"].result == replace(DONE, duration_s=0.0, replayed=True)
    assert entries["b"].result == replace(failed, replayed=True)
    assert entries["c"].state is LedgerState.FREE


async def test_first_recorded_result_stays(ledger: Ledger) -> None:
    caller = somebody()
    await ledger.record(caller, [FinishedCall(key(), DONE)])
    await ledger.record(caller, [FinishedCall(key(), replace(DONE, content="other"))])

    entry = (await ledger.claim(caller, [key()]))["k"]

    assert entry.result is not None
    assert entry.result.content == "done"


@pytest.mark.parametrize("other", [key("a", digest=b"other"), key("a", tool="save")], ids=["arguments", "tool"])
async def test_reused_key_is_refused_and_leaves_no_intent(ledger: Ledger, other: LedgerKey) -> None:
    caller = somebody()
    await ledger.claim(caller, [key("a")])

    with pytest.raises(InvalidArgumentError) as caught:
        await ledger.claim(caller, [other, key("b")])

    assert caught.value.reason == "idempotency_key_reused"
    assert (await ledger.claim(caller, [key("b")]))["b"].state is LedgerState.FREE


async def test_keys_of_callers_are_apart(ledger: Ledger) -> None:
    caller = somebody()
    await ledger.record(caller, [FinishedCall(key(), DONE)])

    for other in (replace(caller, user_id=uuid4()), replace(caller, tenant_id=uuid4())):
        entry = (await ledger.claim(other, [key(digest=b"other")]))["k"]
        assert entry.state is LedgerState.FREE
