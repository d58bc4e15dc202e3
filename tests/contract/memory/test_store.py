"""What every store of memories does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from flotilla_common.errors import FailedPreconditionError
from flotilla_common.ids import new_id
from flotilla_memory.model import Embedding, Memory, MemoryKind, NewMemory, PagePosition, Person, RecallQuery
from flotilla_memory.stores.memory_store import MemoryStore

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def somebody(tenant_id: UUID | None = None) -> Person:
    return Person(tenant_id or uuid4(), uuid4())


def episode(
    text: str,
    *,
    run_id: UUID | None = None,
    thread_id: UUID | None = None,
    vector: Sequence[float] | None = None,
    model: str = "m",
    created_at: datetime = NOW,
) -> NewMemory:
    embedding = None if vector is None else Embedding(model, vector)
    return NewMemory(
        Memory(new_id(), MemoryKind.EPISODE, text, created_at, run_id or uuid4(), thread_id), embedding, agent="a"
    )


def fact(text: str, *, key: str | None = None) -> NewMemory:
    return NewMemory(Memory(new_id(), MemoryKind.FACT, text, NOW), Embedding("m", [1.0, 0.0]), idempotency_key=key)


def question(
    text: str, *, vector: Sequence[float] | None = None, model: str = "m", without: UUID | None = None
) -> RecallQuery:
    embedding = None if vector is None else Embedding(model, vector)
    return RecallQuery(question=text, embedding=embedding, candidates=10, without_thread=without)


async def texts_of(store: MemoryStore, person: Person, query: RecallQuery) -> set[str]:
    return {candidate.memory.text for candidate in (await store.find(person, query)).candidates}


async def all_texts(store: MemoryStore, person: Person) -> list[str]:
    return [memory.text for memory in (await store.list_page(person, size=200, after=None)).memories]


async def test_add_episode_stores_a_run_once(store: MemoryStore) -> None:
    person, run_id = somebody(), uuid4()

    created = [await store.add_episode(person, episode(text, run_id=run_id)) for text in ("one", "two")]

    assert created == [True, False]
    assert await all_texts(store, person) == ["one"]


async def test_add_episode_stores_a_run_once_when_called_concurrently(store: MemoryStore) -> None:
    person, run_id = somebody(), uuid4()

    created = await asyncio.gather(*(store.add_episode(person, episode("one", run_id=run_id)) for _ in range(8)))

    assert sorted(created) == [False] * 7 + [True]
    assert await all_texts(store, person) == ["one"]


async def test_forgotten_episode_does_not_come_back(store: MemoryStore) -> None:
    person = somebody()
    told = episode("my secret")
    await store.add_episode(person, told)

    deleted = await store.delete(person, told.memory.id)
    created_again = await store.add_episode(person, replace(told, memory=replace(told.memory, id=new_id())))

    assert (deleted, created_again) == (True, False)
    assert await all_texts(store, person) == []


async def test_find_prefers_near_vectors(store: MemoryStore) -> None:
    person = somebody()
    await store.add_episode(person, episode("alpha", vector=[1.0, 0.0]))
    await store.add_episode(person, episode("omega", vector=[0.0, 1.0]))

    found = (await store.find(person, question("nothing shared", vector=[0.8, 0.6]))).candidates

    similarity = {candidate.memory.text: candidate.similarity for candidate in found}
    assert similarity["alpha"] == pytest.approx(0.8)
    assert similarity["omega"] == pytest.approx(0.6)


async def test_find_returns_memory_as_it_was_stored(store: MemoryStore) -> None:
    person = somebody()
    told = episode("My dog is called Rex.", thread_id=uuid4(), vector=[1.0, 0.0])
    await store.add_episode(person, told)

    (found,) = (await store.find(person, question("dog", vector=[1.0, 0.0]))).candidates

    assert found.memory == told.memory


async def test_find_by_words_when_the_question_has_no_vector(store: MemoryStore) -> None:
    person = somebody()
    await store.add_episode(person, episode("My dog is called Rex.", vector=[1.0, 0.0]))
    await store.add_episode(person, episode("I was born in Oslo.", vector=[1.0, 0.0]))

    found = (await store.find(person, question("What are my dogs called?"))).candidates

    best = max(found, key=lambda candidate: candidate.word_coverage)
    assert best.memory.text == "My dog is called Rex."
    assert best.word_coverage == pytest.approx(1.0)
    assert best.similarity is None


async def test_find_counts_the_share_of_words(store: MemoryStore) -> None:
    person = somebody()
    await store.add_episode(person, episode("Teal paint.", vector=[1.0, 0.0]))

    (found,) = (await store.find(person, question("teal elephant", vector=[1.0, 0.0]))).candidates

    assert found.word_coverage == pytest.approx(0.5)


async def test_find_by_words_what_another_model_embedded(store: MemoryStore) -> None:
    person = somebody()
    await store.add_episode(person, episode("Teal is nice.", vector=[1.0, 0.0, 0.0], model="old"))

    found = (await store.find(person, question("teal", vector=[1.0, 0.0], model="new"))).candidates

    assert [(candidate.memory.text, candidate.similarity) for candidate in found] == [("Teal is nice.", None)]


async def test_find_survives_a_model_that_changed_its_dimensions(store: MemoryStore) -> None:
    person = somebody()
    await store.add_episode(person, episode("Teal is nice.", vector=[1.0, 0.0, 0.0]))

    assert await texts_of(store, person, question("teal", vector=[1.0, 0.0])) == {"Teal is nice."}


async def test_find_takes_any_text_as_a_question(store: MemoryStore) -> None:
    person = somebody()
    await store.add_episode(person, episode("See example.com/a?b=1&c=2 for it's details", vector=[1.0, 0.0]))

    for text in ("", "   ", "!!! & | ( ) : * '", "a & b | !c", "example.com/a?b=1&c=2 it's \\ 'x'", "the and of"):
        await store.find(person, question(text, vector=[1.0, 0.0]))
        await store.find(person, question(text))


async def test_find_leaves_a_thread_out(store: MemoryStore) -> None:
    person, thread_id = somebody(), uuid4()
    await store.add_episode(person, episode("here", thread_id=thread_id, vector=[1.0, 0.0]))
    await store.add_episode(person, episode("elsewhere", thread_id=uuid4(), vector=[1.0, 0.0]))
    await store.add_episode(person, episode("nowhere", vector=[1.0, 0.0]))

    found = await texts_of(store, person, question("?", vector=[1.0, 0.0], without=thread_id))

    assert found == {"elsewhere", "nowhere"}


async def test_find_says_whether_there_is_anything_to_compare_with(store: MemoryStore) -> None:
    person, thread_id = somebody(), uuid4()

    before = await store.find(person, question("?", without=thread_id))
    await store.add_episode(person, episode("here", thread_id=thread_id, vector=[1.0, 0.0]))
    here = await store.find(person, question("?", without=thread_id))
    elsewhere = await store.find(person, question("?", without=uuid4()))

    assert [found.has_memories for found in (before, here, elsewhere)] == [False, False, True]


async def test_look_says_whether_there_is_anything_to_compare_with(store: MemoryStore) -> None:
    person, thread_id = somebody(), uuid4()

    async def looks() -> list[bool]:
        seen = [await store.look(person, without_thread=thread) for thread in (thread_id, uuid4(), None)]
        return [glance.has_memories for glance in seen]

    before = await looks()
    await store.add_episode(person, episode("here", thread_id=thread_id, vector=[1.0, 0.0]))
    in_thread = await looks()
    await store.add_episode(person, episode("nowhere"))
    outside = await looks()

    assert (before, in_thread, outside) == ([False] * 3, [False, True, True], [True] * 3)


async def test_look_keeps_people_who_ask_together_apart(store: MemoryStore) -> None:
    with_memory = somebody()
    people = [somebody(with_memory.tenant_id), with_memory, Person(uuid4(), with_memory.user_id), somebody()]
    await store.add_episode(with_memory, episode("mine"))

    seen = await asyncio.gather(*(store.look(person, without_thread=None) for person in people))

    assert [glance.has_memories for glance in seen] == [False, True, False, False]


async def test_find_sees_one_person_only(store: MemoryStore) -> None:
    person = somebody()
    await store.add_episode(person, episode("mine", vector=[1.0, 0.0]))

    colleague, stranger = somebody(person.tenant_id), Person(uuid4(), person.user_id)

    for other in (colleague, stranger):
        assert await texts_of(store, other, question("mine", vector=[1.0, 0.0])) == set()
        assert await all_texts(store, other) == []


async def test_add_fact_keeps_equal_texts_once(store: MemoryStore) -> None:
    person = somebody()

    first = await store.add_fact(person, fact("I like teal."))
    second = await store.add_fact(person, fact("  i like   TEAL."))

    assert second.id == first.id
    assert await all_texts(store, person) == ["I like teal."]


async def test_add_fact_with_the_same_key_returns_the_same_memory(store: MemoryStore) -> None:
    person = somebody()

    ids = {(await store.add_fact(person, fact("I like teal.", key="k"))).id for _ in range(3)}

    assert len(ids) == 1


async def test_add_fact_with_the_same_key_concurrently_stores_one(store: MemoryStore) -> None:
    person = somebody()

    kept = await asyncio.gather(*(store.add_fact(person, fact("I like teal.", key="k")) for _ in range(8)))

    assert len({memory.id for memory in kept}) == 1
    assert await all_texts(store, person) == ["I like teal."]


async def test_add_fact_with_a_key_of_another_text_is_refused(store: MemoryStore) -> None:
    person = somebody()
    await store.add_fact(person, fact("I like teal.", key="k"))

    with pytest.raises(FailedPreconditionError) as caught:
        await store.add_fact(person, fact("I like red.", key="k"))

    assert caught.value.reason == "idempotency_key_reused"
    assert await all_texts(store, person) == ["I like teal."]


async def test_keys_of_two_people_are_apart(store: MemoryStore) -> None:
    person = somebody()
    colleague = somebody(person.tenant_id)

    first = await store.add_fact(person, fact("I like teal.", key="k"))
    second = await store.add_fact(colleague, fact("I like red.", key="k"))

    assert first.id != second.id
    assert await all_texts(store, colleague) == ["I like red."]


async def test_forgotten_fact_does_not_come_back_with_its_key(store: MemoryStore) -> None:
    person = somebody()
    kept = await store.add_fact(person, fact("I like teal.", key="k"))
    await store.delete(person, kept.id)

    again = await store.add_fact(person, fact("I like teal.", key="k"))

    assert again.id == kept.id
    assert await all_texts(store, person) == []


async def test_forgotten_fact_may_be_told_again(store: MemoryStore) -> None:
    person = somebody()
    kept = await store.add_fact(person, fact("I like teal."))
    await store.delete(person, kept.id)

    again = await store.add_fact(person, fact("I like teal."))

    assert again.id != kept.id
    assert await all_texts(store, person) == ["I like teal."]


async def test_list_page_is_newest_first_without_gap_or_repetition(store: MemoryStore) -> None:
    person = somebody()
    for age in range(7):
        # Two of each moment, so that a page may end between equals.
        created_at = NOW - timedelta(minutes=age // 2)
        await store.add_episode(person, episode(f"{age}", created_at=created_at))
    expected = await all_texts(store, person)

    seen: list[str] = []
    after: PagePosition | None = None
    while True:
        page = await store.list_page(person, size=3, after=after)
        seen += [memory.text for memory in page.memories]
        if (after := page.next) is None:
            break

    assert seen == expected
    assert len(seen) == 7
    assert {int(text) // 2 for text in seen[:2]} == {0}


async def test_delete_removes_only_the_persons_own(store: MemoryStore) -> None:
    person = somebody()
    told = episode("mine")
    await store.add_episode(person, told)

    assert not await store.delete(somebody(person.tenant_id), told.memory.id)
    assert not await store.delete(Person(uuid4(), person.user_id), told.memory.id)
    assert not await store.delete(person, uuid4())
    assert await store.delete(person, told.memory.id)
    assert not await store.delete(person, told.memory.id)
