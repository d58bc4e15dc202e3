"""How evidence becomes a score, and scores an order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from flotilla_memory.model import Candidate, Memory, MemoryKind
from flotilla_memory.recall.ranking import RankingWeights, rank, score
from hypothesis import given
from hypothesis import strategies as st

WEIGHTS = RankingWeights(min_score=0.3, word_weight=0.5)
NOW = datetime(2025, 3, 1, tzinfo=UTC)

candidates = st.builds(
    Candidate,
    memory=st.builds(
        Memory,
        id=st.uuids(),
        kind=st.sampled_from(MemoryKind),
        text=st.sampled_from(["a", "b", "c", "d"]),
        created_at=st.datetimes(timezones=st.just(UTC)),
    ),
    similarity=st.none() | st.floats(-1, 1),
    word_coverage=st.floats(0, 1),
)


def candidate(text: str, *, similarity: float | None = None, words: float = 0.0, age_days: int = 0) -> Candidate:
    memory = Memory(uuid4(), MemoryKind.FACT, text, NOW - timedelta(days=age_days))
    return Candidate(memory, similarity, words)


@pytest.mark.parametrize(
    ("similarity", "words", "expected"),
    [(None, 0.5, 0.5), (0.8, 0.0, 0.8), (0.0, 1.0, 0.5), (0.5, 1.0, 0.75), (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0)],
)
def test_score_adds_up_independent_evidence(similarity: float | None, words: float, expected: float) -> None:
    assert score(candidate("x", similarity=similarity, words=words), WEIGHTS) == pytest.approx(expected)


@given(candidates, st.floats(0, 1))
def test_score_is_between_0_and_1_and_grows_with_words(some: Candidate, more: float) -> None:
    richer = replace(some, word_coverage=max(some.word_coverage, more))

    assert 0 <= score(some, WEIGHTS) <= score(richer, WEIGHTS) <= 1


def test_rank_leaves_unrelated_out() -> None:
    ranked = rank([candidate("near", similarity=0.9), candidate("far", similarity=0.2)], WEIGHTS, limit=8)

    assert [memory.text for memory in ranked] == ["near"]


def test_rank_puts_newer_first_among_equals() -> None:
    pair = [candidate("old", similarity=0.9, age_days=2), candidate("new", similarity=0.9, age_days=1)]

    assert [memory.text for memory in rank(pair, WEIGHTS, limit=8)] == ["new", "old"]


@given(st.lists(candidates, max_size=12), st.integers(1, 5))
def test_rank_is_ordered_bounded_and_repeats_no_text(some: list[Candidate], limit: int) -> None:
    ranked = rank(some, WEIGHTS, limit=limit)

    scores = [memory.score for memory in ranked]
    assert len(ranked) <= limit
    assert scores == sorted(scores, reverse=True)
    assert all(value >= WEIGHTS.min_score for value in scores)
    assert len({memory.text for memory in ranked}) == len(ranked)
