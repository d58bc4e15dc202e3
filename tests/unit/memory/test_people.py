"""What a process notes of people."""

from __future__ import annotations

from uuid import uuid4

from flotilla_memory.model import Person
from flotilla_memory.people import NotedPeople


def test_whoever_was_noted_longest_ago_is_dropped() -> None:
    people = NotedPeople(most=2)
    first, second, third = (Person(tenant_id=uuid4(), user_id=uuid4()) for _ in range(3))

    for person in (first, second, third):
        people.add(person)

    assert [person in people for person in (first, second, third)] == [False, True, True]


def test_whoever_is_noted_again_displaces_nobody() -> None:
    people = NotedPeople(most=2)
    first, second = (Person(tenant_id=uuid4(), user_id=uuid4()) for _ in range(2))

    for person in (first, second, second):
        people.add(person)

    assert first in people
