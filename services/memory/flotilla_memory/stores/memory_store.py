"""What a store of memories does; tests/contract/memory/test_store.py is the contract that runs."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from flotilla_memory.model import Findings, Glance, Memory, MemoryPage, NewMemory, PagePosition, Person, RecallQuery


class MemoryStore(Protocol):
    """Keeps memories; every operation sees one person's rows only."""

    async def add_episode(self, person: Person, episode: NewMemory) -> bool:
        """Stores a turn; returns False, and changes nothing, when its run was ever stored, even if forgotten since."""
        ...

    async def add_fact(self, person: Person, fact: NewMemory) -> Memory:
        """Stores a fact and returns it, or the one that an equal text or the same idempotency key stored before.

        Raises FailedPreconditionError (reason idempotency_key_reused) when the key was used with another text.
        """
        ...

    async def look(self, person: Person, *, without_thread: UUID | None) -> Glance:
        """Returns the core blocks, and whether there is a memory outside of a thread; cheaper than finding none."""
        ...

    async def find(self, person: Person, query: RecallQuery) -> Findings:
        """Returns the candidates for a question and the core blocks, in one round trip."""
        ...

    async def list_page(self, person: Person, *, size: int, after: PagePosition | None) -> MemoryPage:
        """Returns up to `size` memories older than `after`, newest first."""
        ...

    async def delete(self, person: Person, memory_id: UUID) -> bool:
        """Deletes a memory for good; returns False when the person has none of this id."""
        ...
