"""Whose questions are worth an embedding."""

from __future__ import annotations

from flotilla_memory.model import Person

MOST_PEOPLE = 10_000


class PeopleWithMemories:
    """The people of whom this process has lately seen a memory: a hint, so others may have some and these none left."""

    def __init__(self, most: int = MOST_PEOPLE) -> None:
        self._most = most
        self._seen: dict[Person, None] = {}

    def __contains__(self, person: Person) -> bool:
        return person in self._seen

    def add(self, person: Person) -> None:
        """Notes a person, in place of the one who was noted longest ago when there are too many."""
        if person not in self._seen and len(self._seen) >= self._most:
            del self._seen[next(iter(self._seen))]
        self._seen[person] = None

    def drop(self, person: Person) -> None:
        """Forgets a person who has nothing left to compare with."""
        self._seen.pop(person, None)
