"""What the memory service speaks of: memories, turns, queries, pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from typing import NamedTuple
from uuid import UUID


class MemoryKind(IntEnum):
    """What kind of memory it is; the numbers are stored."""

    EPISODE = 1
    FACT = 2


class Speaker(Enum):
    """Who said a message of a turn."""

    HUMAN = "human"
    ASSISTANT = "assistant"
    OTHER = "other"
    """A system prompt or a tool: nobody whose words are remembered."""


@dataclass(frozen=True, slots=True)
class Person:
    """The one person whose memories an operation may see."""

    tenant_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class Memory:
    """One thing that is remembered about a person."""

    id: UUID
    kind: MemoryKind
    text: str
    created_at: datetime
    run_id: UUID | None = None
    thread_id: UUID | None = None
    score: float = 0.0
    """Likeness to the question from 0 to 1; 0 where nothing was searched."""


@dataclass(frozen=True, slots=True)
class CoreBlock:
    """A short text that every answer sees."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text's place in the space of one embedding model; places of different models cannot be compared."""

    model: str
    vector: Sequence[float]


@dataclass(frozen=True, slots=True)
class SpokenMessage:
    """One message of a turn."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished turn: what the person said and what was answered."""

    run_id: UUID
    thread_id: UUID | None
    messages: Sequence[SpokenMessage]
    finished_at: datetime
    agent: str


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A memory that is about to be stored, complete with its place among the others."""

    memory: Memory
    embedding: Embedding | None
    """None where no embedding model is set up; such a memory is found by its words."""
    agent: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class RecallQuery:
    """What to look for among one person's memories."""

    question: str
    embedding: Embedding | None
    """None when the question could not be embedded; then words alone decide."""
    candidates: int
    """How many of the nearest, and how many of those with the most words in common, are considered."""
    without_thread: UUID | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory that may answer a question, with the evidence for it."""

    memory: Memory
    similarity: float | None
    """Cosine from -1 to 1; None where the memory or the question has no comparable embedding."""
    word_coverage: float
    """Share of the question's telling words that occur in the memory, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What is known of a person before any question is looked at: core blocks by label, and whether to compare."""

    core_blocks: Sequence[CoreBlock] = ()
    has_memories: bool = False
    """Whether there is a memory that a question could be compared with."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a store has for a question: unranked candidates, and the core blocks ordered by label."""

    candidates: Sequence[Candidate] = ()
    core_blocks: Sequence[CoreBlock] = ()
    has_memories: bool = False
    """Whether there is a memory that the question was compared with, be it alike or not."""


@dataclass(frozen=True, slots=True)
class LoadedContext:
    """What an answer may use: memories, best first, and core blocks."""

    memories: Sequence[Memory] = ()
    core_blocks: Sequence[CoreBlock] = ()


class PagePosition(NamedTuple):
    """The last memory of a page; the next page is older than it."""

    created_at: datetime
    memory_id: UUID


@dataclass(frozen=True, slots=True)
class MemoryPage:
    """Memories, newest first, and where the next page starts."""

    memories: Sequence[Memory] = ()
    next: PagePosition | None = None
