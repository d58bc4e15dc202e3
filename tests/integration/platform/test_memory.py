"""Long-term memory, seen from outside: one person's facts, on every thread, and nobody else's."""

from __future__ import annotations

import time
from uuid import uuid4

from fakes.running_platform import RunningPlatform
from openai import OpenAI

FACT = "My favourite colour is teal."
QUESTION = "What is my favourite colour?"


def say(client: OpenAI, text: str, *, user: str) -> str:
    """Says something on a thread of its own and returns the answer."""
    reply = client.chat.completions.create(
        model="assistant",
        messages=[{"role": "user", "content": text}],
        user=user,
        metadata={"thread_id": str(uuid4())},
    )
    return reply.choices[0].message.content or ""


def assert_recalled(client: OpenAI, *, user: str, patience_s: float) -> None:
    """Asks until the answer knows the fact. Raises AssertionError after `patience_s`."""
    started = time.monotonic()
    while "teal" not in (answer := say(client, QUESTION, user=user)):
        assert time.monotonic() - started < patience_s, (
            f"not recalled in {patience_s} s; the last answer was {answer!r}"
        )


def test_fact_is_recalled_on_another_thread_for_the_same_person_only(client: OpenAI) -> None:
    person, other = f"ann-{uuid4()}", f"bob-{uuid4()}"

    say(client, FACT, user=person)

    assert_recalled(client, user=person, patience_s=2)
    assert "teal" not in say(client, QUESTION, user=other)


def test_chat_answers_while_memory_is_dead_and_the_fact_arrives_later(
    client: OpenAI, platform: RunningPlatform
) -> None:
    person = f"cleo-{uuid4()}"
    platform.kill(platform.processes("memory")[0])

    answer = say(client, FACT, user=person)

    assert answer.strip()
    assert_recalled(client, user=person, patience_s=40)
