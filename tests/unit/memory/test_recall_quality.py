"""Whether the settings in the box recall what matters with the development model's embeddings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from flotilla_llm.development.embedding import embed
from flotilla_memory.model import Embedding, Memory, MemoryKind, NewMemory, Person, RecallQuery
from flotilla_memory.recall.ranking import rank
from flotilla_memory.settings import MemorySettings
from flotilla_memory.stores.in_memory import InMemoryMemoryStore

TOLD = (
    "User: My favourite colour is teal. / Assistant: Noted.",
    "User: My dog is called Rex. / Assistant: What a fine name.",
    "User: I live in Oslo with my two sisters. / Assistant: Lovely.",
    "User: What is 17 % of 2,349? / Assistant: 399.33",
    "User: I am allergic to peanuts. / Assistant: I will keep that in mind.",
)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is my favourite colour?", "teal"),
        ("Which color do I like best?", "teal"),
        ("What is the name of my dog?", "Rex"),
        ("Where do I live?", "Oslo"),
        ("Am I allergic to anything?", "peanuts"),
    ],
)
async def test_question_recalls_what_was_told(question: str, expected: str, tmp_path: Path) -> None:
    texts = await _recalled(question, tmp_path)

    assert texts
    assert expected in texts[0]


@pytest.mark.parametrize("question", ["How tall can a giraffe grow?", "Write a haiku about autumn.", "Hello!"])
async def test_unrelated_question_recalls_nothing(question: str, tmp_path: Path) -> None:
    assert await _recalled(question, tmp_path) == []


async def _recalled(question: str, folder: Path) -> list[str]:
    store, person = InMemoryMemoryStore(), Person(uuid4(), uuid4())
    for text in TOLD:
        memory = Memory(uuid4(), MemoryKind.EPISODE, text, datetime.now(UTC), run_id=uuid4())
        await store.add_episode(person, NewMemory(memory, Embedding("dev", embed(text))))
    query = RecallQuery(question, Embedding("dev", embed(question)), candidates=16)
    policy = MemorySettings(app_env="test", database_url="-", identity_keys_dir=folder).recall_policy()
    return [memory.text for memory in rank((await store.find(person, query)).candidates, policy.weights, limit=8)]
