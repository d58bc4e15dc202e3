"""The reference store: what a memory store does, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from flotilla_common.errors import FailedPreconditionError

from flotilla_memory.model import (
    Candidate,
    CoreBlock,
    Embedding,
    Findings,
    Glance,
    Memory,
    MemoryKind,
    MemoryPage,
    NewMemory,
    PagePosition,
    Person,
    RecallQuery,
)
from flotilla_memory.stores.words import telling_words, text_digest


@dataclass(frozen=True, slots=True)
class _Row:
    memory: Memory
    embedding: Embedding | None


class InMemoryMemoryStore:
    """Keeps memories in the process; for tests."""

    def __init__(self) -> None:
        self.core_blocks: dict[Person, list[CoreBlock]] = {}
        self._rows: dict[Person, dict[UUID, _Row]] = {}
        self._runs: set[tuple[UUID, UUID]] = set()
        self._keys: dict[tuple[Person, str], tuple[bytes, Memory]] = {}

    async def add_episode(self, person: Person, episode: NewMemory) -> bool:
        """Stores a turn, once for its run."""
        run = (person.tenant_id, _run_of(episode))
        if run in self._runs:
            return False
        self._runs.add(run)
        self._put(person, episode)
        return True

    async def add_fact(self, person: Person, fact: NewMemory) -> Memory:
        """Stores a fact, once for its key and once for its text."""
        digest = text_digest(fact.memory.text)
        if fact.idempotency_key is None:
            return self._equal_fact(person, digest) or self._put(person, fact)
        key = (person, fact.idempotency_key)
        if key not in self._keys:
            self._keys[key] = (digest, self._equal_fact(person, digest) or self._put(person, fact))
        known_digest, memory = self._keys[key]
        if known_digest != digest:
            raise FailedPreconditionError("The key was used for another text.", reason="idempotency_key_reused")
        return memory

    async def look(self, person: Person, *, without_thread: UUID | None) -> Glance:
        """Looks through the person's memories."""
        return Glance(self._blocks(person), has_memories=bool(self._outside(person, without_thread)))

    async def find(self, person: Person, query: RecallQuery) -> Findings:
        """Compares the question with every memory of the person."""
        seen = self._outside(person, query.without_thread)
        candidates = [_candidate(row, query) for row in seen]
        likeliest = sorted(candidates, key=lambda c: -1 if c.similarity is None else c.similarity, reverse=True)
        wordiest = sorted(candidates, key=lambda c: c.word_coverage, reverse=True)
        chosen = {c.memory.id: c for c in (*likeliest[: query.candidates], *wordiest[: query.candidates])}
        return Findings(tuple(chosen.values()), self._blocks(person), has_memories=bool(seen))

    async def list_page(self, person: Person, *, size: int, after: PagePosition | None) -> MemoryPage:
        """Sorts the person's memories and cuts a page out."""
        memories = sorted((row.memory for row in self._of(person).values()), key=_age, reverse=True)
        if after is not None:
            memories = [memory for memory in memories if _age(memory) < (after.created_at, after.memory_id)]
        page = memories[:size]
        more = len(memories) > size
        return MemoryPage(page, PagePosition(page[-1].created_at, page[-1].id) if more else None)

    async def delete(self, person: Person, memory_id: UUID) -> bool:
        """Forgets a memory."""
        return self._of(person).pop(memory_id, None) is not None

    def _of(self, person: Person) -> dict[UUID, _Row]:
        return self._rows.setdefault(person, {})

    def _outside(self, person: Person, thread_id: UUID | None) -> list[_Row]:
        rows = self._of(person).values()
        return [row for row in rows if thread_id is None or row.memory.thread_id != thread_id]

    def _blocks(self, person: Person) -> tuple[CoreBlock, ...]:
        return tuple(sorted(self.core_blocks.get(person, ()), key=lambda block: block.label))

    def _put(self, person: Person, new: NewMemory) -> Memory:
        self._of(person)[new.memory.id] = _Row(new.memory, new.embedding)
        return new.memory

    def _equal_fact(self, person: Person, digest: bytes) -> Memory | None:
        facts = (row.memory for row in self._of(person).values() if row.memory.kind is MemoryKind.FACT)
        return next((fact for fact in facts if text_digest(fact.text) == digest), None)


def _run_of(episode: NewMemory) -> UUID:
    if episode.memory.run_id is None:
        raise ValueError("an episode has a run")
    return episode.memory.run_id


def _age(memory: Memory) -> tuple[datetime, UUID]:
    return memory.created_at, memory.id


def _candidate(row: _Row, query: RecallQuery) -> Candidate:
    asked = telling_words(query.question)
    shared = asked & telling_words(row.memory.text)
    return Candidate(
        memory=row.memory,
        similarity=_similarity(row.embedding, query.embedding),
        word_coverage=len(shared) / len(asked) if asked else 0.0,
    )


def _similarity(left: Embedding | None, right: Embedding | None) -> float | None:
    if left is None or right is None or left.model != right.model or len(left.vector) != len(right.vector):
        return None
    norms = _norm(left.vector) * _norm(right.vector)
    return sum(a * b for a, b in zip(left.vector, right.vector, strict=True)) / norms if norms else None


def _norm(vector: Sequence[float]) -> float:
    return math.sqrt(sum(x * x for x in vector))
