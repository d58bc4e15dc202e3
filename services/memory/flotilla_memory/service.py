"""What the memory service does: recalls for one person, remembers what was said, forgets when asked."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from uuid import UUID

from flotilla_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from flotilla_common.identity import Identity
from flotilla_common.ids import new_id

from flotilla_memory.metrics import MemoryMetrics, RecalledBy
from flotilla_memory.model import (
    Embedding,
    LoadedContext,
    Memory,
    MemoryKind,
    MemoryPage,
    NewMemory,
    PagePosition,
    Person,
    RecallQuery,
    Turn,
)
from flotilla_memory.people import NotedPeople
from flotilla_memory.recall.embedder import Embedder
from flotilla_memory.recall.episodes import episode_text, shorten, storable
from flotilla_memory.recall.ranking import RecallPolicy, rank
from flotilla_memory.stores.memory_store import MemoryStore

LONGEST_FACT = 4_000
_LONGEST_QUESTION = 4_000
_MOST_MEMORIES = 50
_LARGEST_PAGE = 200
_DEFAULT_PAGE = 50
_CANDIDATES_PER_MEMORY = 2

_log = logging.getLogger(__name__)


class MemoryService:
    """Recalls and keeps memories; every method acts for one caller and sees that person only."""

    def __init__(
        self, *, store: MemoryStore, embedder: Embedder | None, policy: RecallPolicy, metrics: MemoryMetrics
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._policy = policy
        self._metrics = metrics
        self._with_memories = NotedPeople()

    async def load_context(
        self, caller: Identity, *, question: str, thread_id: UUID | None, max_memories: int
    ) -> LoadedContext:
        """Returns what is recalled for a question, without the thread's own episodes, and the core blocks.

        Raises InvalidArgumentError.
        """
        limit = self._limit(max_memories)
        if not caller.remembers:
            return LoadedContext()
        return await self._recall(_person(caller), question, limit=limit, without_thread=thread_id)

    async def search(self, caller: Identity, *, query: str, max_memories: int) -> list[Memory]:
        """Returns the memories nearest to a query, best first. Raises InvalidArgumentError."""
        limit = self._limit(max_memories)
        if not storable(query):
            raise InvalidArgumentError("The query is empty.", field="query")
        if not caller.remembers:
            return []
        return list((await self._recall(_person(caller), query, limit=limit)).memories)

    async def commit_turn(self, caller: Identity, turn: Turn) -> bool:
        """Stores a turn as an episode, once for its run; returns False when the run was stored before.

        Raises InvalidArgumentError, FailedPreconditionError and UnavailableError (embedding_unavailable).
        """
        person = _remembering(caller)
        if not (text := episode_text(turn.messages)):
            raise InvalidArgumentError("The turn has no message.", field="messages")
        memory = Memory(
            id=new_id(), kind=MemoryKind.EPISODE, text=text, created_at=turn.finished_at,
            run_id=turn.run_id, thread_id=turn.thread_id,
        )  # fmt: skip
        embedding = await self._embed_text(text)
        is_new = await self._store.add_episode(
            person, NewMemory(memory=memory, embedding=embedding, agent=shorten(storable(turn.agent), 200))
        )
        self._metrics.stored(MemoryKind.EPISODE, is_new=is_new)
        return is_new

    async def create_memory(
        self, caller: Identity, *, text: str, run_id: UUID | None, idempotency_key: str | None
    ) -> Memory:
        """Stores a fact, once for its idempotency key and once for its text, and returns it.

        Raises InvalidArgumentError, FailedPreconditionError (also idempotency_key_reused) and UnavailableError.
        """
        person = _remembering(caller)
        fact = storable(text)
        if not 1 <= len(fact) <= LONGEST_FACT:
            raise InvalidArgumentError(f"A memory has 1 to {LONGEST_FACT} characters.", field="text")
        memory = Memory(id=new_id(), kind=MemoryKind.FACT, text=fact, created_at=datetime.now(UTC), run_id=run_id)
        embedding = await self._embed_text(fact)
        kept = await self._store.add_fact(
            person, NewMemory(memory=memory, embedding=embedding, idempotency_key=idempotency_key or None)
        )
        self._metrics.stored(MemoryKind.FACT, is_new=kept.id == memory.id)
        return kept

    async def list_memories(self, caller: Identity, *, page_size: int, after: PagePosition | None) -> MemoryPage:
        """Returns a page of the person's memories, newest first. Raises InvalidArgumentError."""
        if not 0 <= page_size <= _LARGEST_PAGE:
            raise InvalidArgumentError(f"A page has 1 to {_LARGEST_PAGE} memories.", field="page_size")
        if not caller.remembers:
            return MemoryPage()
        return await self._store.list_page(_person(caller), size=page_size or _DEFAULT_PAGE, after=after)

    async def delete_memory(self, caller: Identity, memory_id: UUID) -> None:
        """Forgets a memory for good. Raises NotFoundError and FailedPreconditionError."""
        if not await self._store.delete(_remembering(caller), memory_id):
            raise NotFoundError("There is no such memory.")

    async def _recall(
        self, person: Person, question: str, *, limit: int, without_thread: UUID | None = None
    ) -> LoadedContext:
        """Finds what is related; whoever has nothing to compare with, as most newcomers, waits for no embedding."""
        if person not in self._with_memories:
            seen = await self._store.look(person, without_thread=without_thread)
            if not seen.has_memories:
                self._metrics.recalled(0, RecalledBy.NOTHING)
                return LoadedContext(core_blocks=seen.core_blocks)
            self._with_memories.add(person)
        asked = shorten(storable(question), _LONGEST_QUESTION)
        embedding = await self._embed_question(asked)
        query = RecallQuery(
            question=asked,
            embedding=embedding,
            candidates=limit * _CANDIDATES_PER_MEMORY,
            without_thread=without_thread,
        )
        found = await self._store.find(person, query)
        memories = rank(found.candidates, self._policy.weights, limit=limit)
        self._metrics.recalled(len(memories), RecalledBy.EMBEDDING if embedding else RecalledBy.WORDS)
        if not found.has_memories:
            self._with_memories.drop(person)
        return LoadedContext(memories=memories, core_blocks=found.core_blocks)

    async def _embed_question(self, question: str) -> Embedding | None:
        if self._embedder is None or not question:
            return None
        try:
            with self._metrics.embedding_time():
                return await self._embedder.embed(question, timeout_s=self._policy.question_timeout_s)
        except UnavailableError as error:
            self._metrics.degraded()
            _log.warning("recall by words only", extra={"reason": error.reason, "cause": _cause_of(error)})
            return None

    async def _embed_text(self, text: str) -> Embedding | None:
        if self._embedder is None:
            return None
        with self._metrics.embedding_time():
            return await self._embedder.embed(text, timeout_s=self._policy.text_timeout_s)

    def _limit(self, max_memories: int) -> int:
        if not 0 <= max_memories <= _MOST_MEMORIES:
            raise InvalidArgumentError(f"At most {_MOST_MEMORIES} memories are recalled.", field="max_memories")
        return max_memories or self._policy.default_memories


def _person(caller: Identity) -> Person:
    return Person(tenant_id=caller.tenant_id, user_id=caller.user_id)


def _remembering(caller: Identity) -> Person:
    if not caller.remembers:
        raise FailedPreconditionError("This caller names no person, so nothing is remembered.", reason="no_person")
    return _person(caller)


def _cause_of(error: UnavailableError) -> str:
    cause = error.__cause__
    return getattr(cause, "reason", None) or type(cause).__name__
