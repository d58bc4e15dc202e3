"""Numbers, coalescing and waiting in one run's journal."""

from __future__ import annotations

import asyncio

import pytest
from fakes.run_engine import decoded, kinds
from flotilla_common.ids import new_id
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import LeaseLostError, RunJournal, Speaker
from hypothesis import given
from hypothesis import strategies as st

ANSWER, INNER = Speaker("m1", "agent", "", True), Speaker("m2", "checker", "", False)


class Told:
    """Counts what a journal tells its writer."""

    def __init__(self, journal: RunJournal) -> None:
        self.wakes = self.ticks = self.losses = 0
        journal.attach(wake=self._wake, tick=self._tick, on_lost=self._lose)

    def _wake(self) -> None:
        self.wakes += 1

    def _tick(self) -> None:
        self.ticks += 1

    def _lose(self) -> None:
        self.losses += 1


def journal(last_sequence: int = 1) -> RunJournal:
    return RunJournal(new_id(), 1, last_sequence=last_sequence)


def test_tokens_of_one_flush_become_one_event_a_reply() -> None:
    made = journal()

    for text in ("a", "b", "c"):
        made.token(ANSWER, text)
        made.token(INNER, text.upper())
    log = decoded(made.take().append.events)

    assert [(event.sequence, event.token.message_id, event.token.text) for event in log] == [
        (2, "m1", "abc"),
        (3, "m2", "ABC"),
    ]


def test_first_token_and_other_events_wake_and_later_tokens_wait_for_the_clock() -> None:
    made = journal()
    told = Told(made)

    made.token(ANSWER, "a")
    made.token(ANSWER, "b")
    made.emit(events.custom(data_json=b"{}", namespace=""))

    assert (told.wakes, told.ticks) == (2, 1)


def test_added_event_goes_in_its_place_with_the_next_flush() -> None:
    made = journal()
    told = Told(made)

    made.add(events.custom(data_json=b"{}", namespace=""))
    made.token(ANSWER, "a")

    assert (told.wakes, told.ticks) == (1, 0)
    assert kinds(decoded(made.take().append.events)) == ["custom", "token"]


def test_event_comes_after_the_tokens_before_it() -> None:
    made = journal()

    made.token(ANSWER, "a")
    made.emit(events.custom(data_json=b"{}", namespace=""))
    made.token(ANSWER, "b")

    assert kinds(decoded(made.take().append.events)) == ["token", "custom", "token"]


@given(st.lists(st.sampled_from(["token", "event", "flush"]), max_size=30), st.integers(1, 9))
def test_numbers_are_dense_and_no_text_is_lost(acts: list[str], start: int) -> None:
    made, log = journal(start), []

    for number, act in enumerate(acts):
        if act == "token":
            made.token(ANSWER, f"{number} ")
        elif act == "event":
            made.emit(events.custom(data_json=b"{}", namespace=""))
        else:
            log += decoded(made.take().append.events)
    log += decoded(made.take().append.events)
    last = made.last(b"")

    assert [event.sequence for event in log] == list(range(start + 1, start + 1 + len(log)))
    assert last.sequence == start + 1 + len(log)
    told = "".join(f"{number} " for number, act in enumerate(acts) if act == "token")
    assert "".join(event.token.text for event in log) == told


def test_long_text_of_one_flush_becomes_several_events() -> None:
    made = journal()

    made.token(ANSWER, "a" * 600_000)
    made.token(INNER, "b")
    stored = made.take().append.events

    assert [(event.token.message_id, len(event.token.text)) for event in decoded(stored)] == [
        ("m1", 250_000),
        ("m1", 250_000),
        ("m1", 100_000),
        ("m2", 1),
    ]


async def test_commit_returns_when_its_flush_is_settled() -> None:
    made = journal()
    made.emit(events.custom(data_json=b"{}", namespace=""))
    waiting = asyncio.create_task(made.commit())
    await asyncio.sleep(0)

    flush = made.take()
    assert not waiting.done()
    made.settle(flush)
    await waiting


async def test_lost_journal_fails_those_who_wait_and_tells_once() -> None:
    made = journal()
    told = Told(made)
    before = asyncio.create_task(made.commit())
    await asyncio.sleep(0)

    made.lose()
    made.lose()

    with pytest.raises(LeaseLostError):
        await before
    with pytest.raises(LeaseLostError):
        await made.commit()
    assert told.losses == 1
    assert made.take().waiters == []
