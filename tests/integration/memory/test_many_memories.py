"""What is recalled for somebody with more memories than are compared one by one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from uuid import UUID, uuid4

import psycopg
import pytest
from fakes.servers import ServiceDatabase
from flotilla_common.ids import new_id
from flotilla_common.postgres import open_pool
from flotilla_memory.model import Embedding, Findings, Memory, MemoryKind, NewMemory, Person, RecallQuery
from flotilla_memory.stores.find import FEW, SKETCHES
from flotilla_memory.stores.postgres import PostgresMemoryStore
from integration.memory.many import fill, somebody

DIMENSIONS = 64
NORTH = (0.0, 0.0, 1.0)
"""Where none of the filled memories is."""


@pytest.fixture(scope="module")
def memory_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("memory")


@pytest.fixture
async def store(memory_database: ServiceDatabase) -> AsyncIterator[PostgresMemoryStore]:
    async with open_pool(memory_database.url, min_size=1, max_size=4, plans_once=True) as pool:
        yield PostgresMemoryStore(pool)


def memory(
    text: str,
    vector: Sequence[float] | None = None,
    *,
    kind: MemoryKind = MemoryKind.EPISODE,
    thread: UUID | None = None,
) -> NewMemory:
    told = Memory(new_id(), kind, text, datetime.now(UTC), uuid4(), thread)
    return NewMemory(told, None if vector is None else Embedding("m", vector))


def question(text: str, vector: Sequence[float] | None = None, *, without: UUID | None = None) -> RecallQuery:
    embedding = None if vector is None else Embedding("m", vector)
    return RecallQuery(question=text, embedding=embedding, candidates=10, without_thread=without)


def texts(found: Findings) -> set[str]:
    return {candidate.memory.text for candidate in found.candidates}


def clustered(count: int, rng: random.Random) -> list[list[float]]:
    """Returns unit vectors as embedding models give them: all somewhat alike, in topics of different sizes."""
    everywhere = [rng.gauss(0, 0.5) for _ in range(DIMENSIONS)]
    topics = [[rng.gauss(shift, 1) for shift in everywhere] for _ in range(40)]
    drawn = ([x + rng.gauss(0, 0.5) for x in topics[int(40 * rng.random() ** 2)]] for _ in range(count))
    return [[x / sum(y * y for y in vector) ** 0.5 for x in vector] for vector in drawn]


@pytest.mark.parametrize(("count", "least"), [(FEW, 1.0), (3_000, 0.99)])
async def test_nearest_memories_are_found_among_few_and_among_many(
    store: PostgresMemoryStore, count: int, least: float
) -> None:
    person, rng = somebody(), random.Random(7)
    *vectors, asked = clustered(count + 1, rng)
    questions = [asked, *([x + rng.gauss(0, 0.02) for x in rng.choice(vectors)] for _ in range(19))]
    await asyncio.gather(*(store.add_episode(person, memory(str(n), vector)) for n, vector in enumerate(vectors)))

    hits = 0
    for vector in questions:
        likeness = [sum(a * b for a, b in zip(vector, other, strict=True)) for other in vectors]
        nearest = sorted(range(count), key=likeness.__getitem__, reverse=True)[:10]
        hits += len(texts(await store.find(person, question("?", vector))) & set(map(str, nearest)))

    assert hits / (10 * len(questions)) >= least


async def test_likeness_is_exact_among_many(store: PostgresMemoryStore, memory_database: ServiceDatabase) -> None:
    person = somebody()
    await store.add_episode(person, memory("My dog is called Rex.", (0.0, 0.6, 0.8)))
    fill(memory_database, person, FEW)

    found = (await store.find(person, question("What is my dog called?", NORTH))).candidates

    best = max(found, key=lambda candidate: candidate.similarity or 0)
    assert best.memory.text == "My dog is called Rex."
    assert best.similarity == pytest.approx(0.8)
    assert best.word_coverage == pytest.approx(1.0)


@pytest.mark.parametrize("model", [None, "old"])
async def test_words_find_what_no_embedding_can_among_many(
    store: PostgresMemoryStore, memory_database: ServiceDatabase, model: str | None
) -> None:
    person = somebody()
    told = memory("My dog is called Rex.")
    await store.add_episode(person, NewMemory(told.memory, None if model is None else Embedding(model, [1.0, 0.0])))
    fill(memory_database, person, FEW)
    fill(memory_database, person, FEW, model="old")

    for vector in (None, NORTH):
        found = await store.find(person, question("What is my dog called?", vector))
        (best,) = (candidate for candidate in found.candidates if candidate.word_coverage)
        assert (best.memory.text, best.similarity) == ("My dog is called Rex.", None)
        assert best.word_coverage == pytest.approx(1.0)


async def test_facts_are_found_whatever_their_age_and_episodes_among_the_newest(
    store: PostgresMemoryStore, memory_database: ServiceDatabase
) -> None:
    person = somebody()
    await store.add_fact(person, memory("an old fact", NORTH, kind=MemoryKind.FACT))
    await store.add_episode(person, memory("an old episode", NORTH))
    fill(memory_database, person, SKETCHES - 2)
    within = texts(await store.find(person, question("?", NORTH)))
    fill(memory_database, person, 1)

    beyond = texts(await store.find(person, question("?", NORTH)))

    assert within & {"an old fact", "an old episode"} == {"an old fact", "an old episode"}
    assert beyond & {"an old fact", "an old episode"} == {"an old fact"}


async def test_own_thread_is_left_out_among_many(store: PostgresMemoryStore, memory_database: ServiceDatabase) -> None:
    person, thread_id = somebody(), uuid4()
    await store.add_episode(person, memory("elsewhere", NORTH))
    fill(memory_database, person, 2 * FEW, thread_id=thread_id)
    await store.add_episode(person, memory("here", NORTH, thread=thread_id))

    for _ in range(2):
        found = await store.find(person, question("?", NORTH, without=thread_id))
        assert texts(found) == {"elsewhere"}
        assert "here" in texts(await store.find(person, question("?", NORTH)))


async def test_questions_of_people_with_few_and_many_share_a_group(
    store: PostgresMemoryStore, memory_database: ServiceDatabase
) -> None:
    tenant_id = uuid4()
    people = [Person(tenant_id, uuid4()) for _ in range(6)]
    for number, person in enumerate(people):
        if number % 2:
            fill(memory_database, person, FEW + 1)
        await store.add_episode(person, memory(f"of {number}", NORTH))

    for _ in range(2):
        found = await asyncio.gather(*(store.find(person, question("?", NORTH)) for person in people))
        assert [{text for text in texts(of_one) if text.startswith("of")} for of_one in found] == [
            {f"of {number}"} for number in range(6)
        ]


async def test_whoever_forgot_most_has_all_compared_again(
    store: PostgresMemoryStore, memory_database: ServiceDatabase
) -> None:
    person = somebody()
    fill(memory_database, person, FEW + 1)
    await store.find(person, question("?", NORTH))
    for found in (await store.list_page(person, size=FEW, after=None)).memories:
        await store.delete(person, found.id)

    for _ in range(2):
        assert len((await store.find(person, question("?", NORTH))).candidates) == 1


async def test_forgotten_memory_leaves_no_sketch(store: PostgresMemoryStore, memory_database: ServiceDatabase) -> None:
    person = somebody()
    kept, gone = memory("kept", NORTH), memory("gone", NORTH)
    without_vector, fact = memory("gone too"), memory("a fact", NORTH, kind=MemoryKind.FACT)
    for episode in (kept, gone, without_vector):
        await store.add_episode(person, episode)
    await store.add_fact(person, fact)

    for forgotten in (gone, without_vector, fact):
        await store.delete(person, forgotten.memory.id)

    assert [row[5] for row in rows_of(memory_database, person)] == [kept.memory.id]


async def test_embedding_of_any_length_can_be_stored(
    store: PostgresMemoryStore, memory_database: ServiceDatabase
) -> None:
    person, longest = somebody(), [1.0] * 16_000
    await store.add_episode(person, memory("long", longest))
    await store.add_episode(person, memory("nowhere", [0.0, 0.0, 0.0]))
    fill(memory_database, person, FEW)

    assert "long" in texts(await store.find(person, question("?", longest)))


async def test_memories_from_before_sketches_are_sketched_by_the_migration(
    store: PostgresMemoryStore, memory_database: ServiceDatabase
) -> None:
    person = somebody()
    fill(memory_database, person, 5)
    told = memory("forgotten meanwhile", NORTH)
    await store.add_episode(person, told)
    made_by_trigger = rows_of(memory_database, person)
    statements = (files("flotilla_memory") / "migrations" / "0003_sketch_what_there_is.sql").read_text()

    with psycopg.connect(memory_database.owner_url) as connection:
        connection.execute("SELECT set_config('flotilla.tenant_id', '*', true)")
        connection.execute(
            "DELETE FROM sketches WHERE user_id = %s AND memory_id <> %s", [person.user_id, told.memory.id]
        )
        connection.execute("ALTER TABLE memories DISABLE TRIGGER forget_sketches")
        connection.execute("DELETE FROM memories WHERE memory_id = %s", [told.memory.id])
        connection.execute("ALTER TABLE memories ENABLE TRIGGER forget_sketches")
        connection.execute(statements.encode())

    assert rows_of(memory_database, person) == [row for row in made_by_trigger if row[5] != told.memory.id]


def rows_of(database: ServiceDatabase, person: Person) -> list[tuple[object, ...]]:
    with psycopg.connect(database.system_url) as connection:
        return connection.execute(
            "SELECT * FROM sketches WHERE user_id = %s ORDER BY memory_id", [person.user_id]
        ).fetchall()
