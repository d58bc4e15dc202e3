"""Messages to a run's input."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flotilla_common.errors import InvalidArgumentError
from flotilla_gateway.wires.openai.conversation import read_conversation, run_thread, thread_id_for
from flotilla_gateway.wires.openai.schema import ChatMessage
from flotilla_gateway.wires.openai.translate import body_hash
from hypothesis import given
from hypothesis import strategies as st

MINTED = "call_" + "0" * 32 + "_3"


def messages(*given: dict[str, Any]) -> list[ChatMessage]:
    """Returns validated messages."""
    return [ChatMessage.model_validate(message) for message in given]


def called(*ids: str) -> dict[str, Any]:
    """An assistant message that calls tools."""
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answered(call_id: str) -> dict[str, Any]:
    """A tool's result."""
    return {"role": "tool", "tool_call_id": call_id, "content": "r"}


USER = {"role": "user", "content": "q"}


@given(st.lists(st.sampled_from(["system", "developer", "user", "assistant"]), max_size=12))
def test_new_messages_are_those_after_the_last_assistant(roles: list[str]) -> None:
    given_messages = messages(*({"role": role, "content": str(at)} for at, role in enumerate(roles)), USER)

    conversation = read_conversation(given_messages, on_thread=False)

    after = len(roles) - roles[::-1].index("assistant") if "assistant" in roles else 0
    expected = [str(at) for at, role in enumerate(roles) if at >= after and role == "user"] + ["q"]
    assert [message.content for message in conversation.new] == expected
    instructing = [str(at) for at, role in enumerate(roles) if role in ("system", "developer")]
    assert conversation.instructions == "\n\n".join(instructing)
    assert len(conversation.messages) + len(instructing) == len(given_messages)


def test_all_calls_of_a_message_are_answered_in_any_order() -> None:
    conversation = read_conversation(messages(USER, called("a", "b"), answered("b"), answered("a")), on_thread=False)

    assert [message.tool_call_id for message in conversation.new] == ["b", "a"]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ([USER, called("a", "b"), answered("a")], "messages"),
        ([USER, called("a"), answered("b")], "messages[2].tool_call_id"),
        ([USER, called("a"), answered("a"), answered("a")], "messages[3].tool_call_id"),
        ([USER, called("a"), USER], "messages[2]"),
        ([{"role": "system", "content": "x"}], "messages"),
    ],
)
def test_open_and_unknown_calls_are_named(bad: list[dict[str, Any]], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_conversation(messages(*bad), on_thread=False)

    assert caught.value.field == field


def test_thread_alone_knows_which_calls_are_open() -> None:
    conversation = read_conversation(messages(answered("whatever")), on_thread=True)

    assert not conversation.is_whole


def test_minted_id_locates_the_thread_only_where_none_is_named() -> None:
    conversation = read_conversation(messages(answered(MINTED)), on_thread=False)

    assert run_thread(None, conversation).answered_tool_call_id == MINTED
    assert run_thread("t", conversation).thread_id == "t"


def test_old_minted_ids_in_the_history_locate_nothing() -> None:
    conversation = read_conversation(messages(USER, called(MINTED), answered(MINTED), USER), on_thread=False)
    ended = read_conversation(
        messages(USER, called(MINTED), answered(MINTED), {"role": "assistant", "content": "x"}, USER), on_thread=False
    )

    assert run_thread(None, conversation).answered_tool_call_id == MINTED
    assert run_thread(None, ended).ephemeral


def test_thread_names_are_ones_own() -> None:
    ann, bob, thread = uuid4(), uuid4(), uuid4()

    assert thread_id_for("chat 1", ann, field="f") == thread_id_for("chat 1", ann, field="f")
    assert thread_id_for("chat 1", ann, field="f") != thread_id_for("chat 1", bob, field="f")
    assert thread_id_for(str(thread).upper(), ann, field="f") == str(thread)


def test_body_hash_is_of_what_is_asked() -> None:
    body = {"model": "m", "messages": [1], "temperature": 0.5}
    reordered = {"temperature": 0.5, "messages": [1], "model": "m", "stream": True, "stream_options": {}}

    assert body_hash(body, None) == body_hash(reordered, None)
    assert body_hash(body, None) != body_hash({**body, "temperature": 0.6}, None)
    assert body_hash(body, None) != body_hash(body, "thread")
