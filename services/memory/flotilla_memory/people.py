"""What a process knows of people without asking, to save itself work."""

from __future__ import annotations

from flotilla_memory.model import Person

MOST_PEOPLE = 10_000


class NotedPeople:
    """The people of whom this process has lately seen something: a hint, so it may hold for others and no longer hold.

    most: how many it remembers.
    """

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
        """Forgets a person of whom it no longer holds."""
        self._seen.pop(person, None)
