"""Which candidates are worth recalling, and in what order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from flotilla_memory.model import Candidate, Memory


@dataclass(frozen=True, slots=True)
class RankingWeights:
    """How evidence becomes a score."""

    min_score: float
    """Below it a memory is held to be unrelated and is not recalled."""
    word_weight: float
    """How far words alone lift a memory whose embedding could be compared."""


@dataclass(frozen=True, slots=True)
class RecallPolicy:
    """How much is recalled, and how long the model may take to embed."""

    weights: RankingWeights
    default_memories: int
    question_timeout_s: float
    """For reads: somebody waits for an answer, and words alone can do."""
    text_timeout_s: float
    """For writes: nothing is stored without its embedding."""


def rank(candidates: Iterable[Candidate], weights: RankingWeights, *, limit: int) -> list[Memory]:
    """Returns the related memories with their scores, best first and newest first among equals, no text twice."""
    scored = (replace(candidate.memory, score=score(candidate, weights)) for candidate in candidates)
    related = [memory for memory in scored if memory.score >= weights.min_score]
    related.sort(key=lambda memory: (memory.score, memory.created_at, memory.id), reverse=True)
    return _without_repetition(related)[:limit]


def score(candidate: Candidate, weights: RankingWeights) -> float:
    """Returns a candidate's likeness to the question from 0 to 1.

    Both kinds of evidence add up as independent ones do: 1 - (1 - similarity)(1 - weight · coverage). Without a
    comparable embedding the words' coverage is all there is.
    """
    words = min(max(candidate.word_coverage, 0.0), 1.0)
    if candidate.similarity is None:
        return words
    similarity = min(max(candidate.similarity, 0.0), 1.0)
    return 1 - (1 - similarity) * (1 - weights.word_weight * words)


def _without_repetition(memories: list[Memory]) -> list[Memory]:
    first_of_text: dict[str, Memory] = {}
    for memory in memories:
        first_of_text.setdefault(memory.text, memory)
    return list(first_of_text.values())
