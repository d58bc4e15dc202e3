"""What a remade reply adds to the streamed one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from flotilla_orchestrator.runs.event_log.replay import ReplyComparison
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(alphabet="ab ", max_size=12)


def pieces_of(text: str, cuts: Sequence[int]) -> list[str]:
    """Returns a text in pieces, cut at the places that fit."""
    places = sorted({cut for cut in cuts if 0 < cut < len(text)})
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def read(streamed: str, pieces: Sequence[str]) -> tuple[str, int]:
    """Returns what a reader has in the end who honours restarts, and how many there were."""
    comparison, shown, restarts = ReplyComparison(streamed), streamed, 0
    for fresh in [*(comparison.take(piece) for piece in pieces), comparison.end()]:
        if fresh.restarted:
            shown, restarts = "", restarts + 1
        shown += fresh.text
    return shown, restarts


@given(streamed=TEXT, remade=TEXT, cuts=st.lists(st.integers(0, 12)))
def test_reader_always_ends_with_the_remade_reply(streamed: str, remade: str, cuts: list[int]) -> None:
    shown, restarts = read(streamed, pieces_of(remade, cuts))

    assert shown == remade
    assert restarts == (0 if remade.startswith(streamed) else 1)


@given(streamed=TEXT, rest=TEXT, cuts=st.lists(st.integers(0, 24)))
def test_equal_beginning_is_never_streamed_twice(streamed: str, rest: str, cuts: list[int]) -> None:
    comparison = ReplyComparison(streamed)

    fresh = [comparison.take(piece) for piece in pieces_of(streamed + rest, cuts)]

    assert "".join(part.text for part in fresh) == rest
    assert not any(part.restarted for part in fresh)


@pytest.mark.parametrize(("streamed", "remade"), [("Hello", "Help"), ("Hello there", "Hello"), ("Hello", "")])
def test_reply_that_differs_restarts_once(streamed: str, remade: str) -> None:
    assert read(streamed, [*remade]) == (remade, 1)
