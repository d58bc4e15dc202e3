"""Events to chunks: what is said is said once, in order, however the events were batched."""

from __future__ import annotations

import json
from typing import Any

from fakes.orchestrator import done, failed, restarted, token
from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1 import event_pb2 as events
from flotilla_gateway.wires.openai.stream import ChatChunks
from hypothesis import given
from hypothesis import strategies as st

RUN = "0197c111-0000-7000-8000-000000000001"


def chunks_of(frames: bytes) -> list[dict[str, Any]]:
    """Reads frames as a client does."""
    lines = [line for line in frames.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]


def text_of(frames: bytes) -> str:
    """Returns the text that a client puts together."""
    deltas = (chunk["choices"][0]["delta"] for chunk in chunks_of(frames) if chunk.get("choices"))
    return "".join(delta.get("content") or "" for delta in deltas)


def new_chunks(**options: Any) -> ChatChunks:
    """Returns the chunks of a reply."""
    given: dict[str, Any] = {"run_id": RUN, "created": 1, "model": "assistant", "include_usage": False, **options}
    return ChatChunks(**given)


@given(
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.booleans()), max_size=20),
    st.lists(st.integers(1, 5), min_size=20, max_size=20),
)
def test_text_is_the_answers_tokens_however_they_are_batched(tokens: list[tuple[str, bool]], sizes: list[int]) -> None:
    said = "".join(text for text, is_answer in tokens if is_answer)
    log = [token(text, message_id="a" if is_answer else "b", is_answer=is_answer) for text, is_answer in tokens]
    log.append(done(said, message_id="a"))
    chunks, frames = new_chunks(), b""

    for size in sizes:
        batch, log = log[:size], log[size:]
        frames += chunks.feed(batch)

    assert log or (text_of(frames) == said and chunks.is_ended and frames.endswith(b"data: [DONE]\n\n"))


def test_message_that_came_whole_is_said_once() -> None:
    message = common.Message(id="m", role=common.MESSAGE_ROLE_ASSISTANT, content="Whole.")
    finished = events.RunEvent(message=events.MessageFinished(message=message, is_answer=True))

    assert text_of(new_chunks().feed([finished, done("Whole.", message_id="m")])) == "Whole."


def test_messages_of_one_answer_are_set_apart() -> None:
    log = [token("Let me see.", message_id="a"), token("4", message_id="b"), done("4", message_id="b")]

    assert text_of(new_chunks().feed(log)) == "Let me see.\n\n4"


def test_answer_of_another_message_than_was_streamed_is_not_lost() -> None:
    assert text_of(new_chunks().feed([done("Only at the end.", message_id="z")])) == "Only at the end."


def test_restart_of_unsaid_messages_changes_nothing() -> None:
    chunks = new_chunks()

    frames = chunks.feed([restarted("a"), token("x", message_id="a"), done("x", message_id="a")])

    assert text_of(frames) == "x"


def test_restart_of_said_text_ends_the_reply_and_nothing_of_the_new_one_is_shown() -> None:
    chunks = new_chunks()

    frames = chunks.feed([token("old", message_id="a")])
    frames += chunks.feed([restarted("a"), token("new", message_id="a"), done("new", message_id="a")])

    assert text_of(frames) == "old"
    assert chunks_of(frames)[-1]["error"]["code"] == "reply_restarted"
    assert b"[DONE]" not in frames
    assert chunks.is_ended


def test_interrupt_ends_the_reply() -> None:
    chunks = new_chunks()

    frames = chunks.feed([events.RunEvent(interrupted=events.RunInterrupted(interrupt_id="i"))])

    assert chunks_of(frames)[0]["error"]["code"] == "approval_required"


def test_failure_shows_its_reason_and_nothing_after_it() -> None:
    frames = new_chunks().feed([token("Hel"), failed("model_unavailable"), token("never")])

    assert text_of(frames) == "Hel"
    assert chunks_of(frames)[-1]["error"]["code"] == "model_unavailable"


def test_usage_is_null_until_the_last_chunk() -> None:
    chunks = new_chunks(include_usage=True)

    made = chunks_of(chunks.opening() + chunks.feed([token("x"), done("x")]))

    assert [chunk["usage"] for chunk in made[:-1]] == [None, None, None]
    assert made[-1]["choices"] == []
    assert made[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}


def test_opening_is_one_event_for_clients_that_count_blank_lines() -> None:
    assert new_chunks().opening().count(b"\n\n") == 1
