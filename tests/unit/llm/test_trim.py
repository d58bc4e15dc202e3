from collections.abc import Mapping
from typing import Any

from flotilla_llm.model import ChatRequest
from flotilla_llm.routes import Route
from flotilla_llm.tokens import count_message
from flotilla_llm.trim import fit, trim_messages
from hypothesis import given
from hypothesis import strategies as st

Message = Mapping[str, Any]


def size(message: Message) -> int:
    return 1 + len(message.get("content") or "")


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    messages: list[Message] = []
    texts = st.text(alphabet="ab", max_size=6)
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["system", "user", "assistant", "calls"]))
        if kind != "calls":
            messages.append({"role": kind, "content": draw(texts)})
            continue
        ids = [f"call_{number}_{at}" for at in range(draw(st.integers(1, 3)))]
        messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": id_} for id_ in ids]})
        messages += [{"role": "tool", "tool_call_id": id_, "content": draw(texts)} for id_ in ids]
    return messages


def answered(messages: list[Message]) -> tuple[set[str], set[str]]:
    calls = {call["id"] for message in messages for call in message.get("tool_calls") or ()}
    return calls, {message["tool_call_id"] for message in messages if message["role"] == "tool"}


def minimum(messages: list[Message]) -> int:
    system = [message for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    last_user = max((at for at, message in enumerate(others) if message["role"] == "user"), default=0)
    return sum(map(size, system + others[last_user:]))


@given(conversations(), st.integers(0, 60))
def test_trim_never_splits_a_call_from_its_result(messages: list[Message], limit: int) -> None:
    calls, results = answered(trim_messages(messages, limit, count=size))

    assert calls == results


@given(conversations(), st.integers(0, 60))
def test_trim_stays_within_the_limit_unless_the_minimum_does_not(messages: list[Message], limit: int) -> None:
    kept = trim_messages(messages, limit, count=size)

    assert sum(map(size, kept)) <= max(limit, minimum(messages))


@given(conversations(), st.integers(0, 60))
def test_trim_keeps_order_system_and_the_last_user_message(messages: list[Message], limit: int) -> None:
    kept = trim_messages(messages, limit, count=size)

    places = [next(at for at, message in enumerate(messages) if message is one) for one in kept]
    assert places == sorted(set(places))
    needed = [message for message in messages if message["role"] == "system"]
    needed += [message for message in messages if message["role"] == "user"][-1:]
    assert all(any(message is one for one in kept) for message in needed)


@given(conversations())
def test_trim_keeps_everything_that_fits(messages: list[Message]) -> None:
    assert trim_messages(messages, sum(map(size, messages)), count=size) == messages
    assert trim_messages(messages, sum(map(count_message, messages))) == messages


def test_trim_drops_whole_turns_oldest_first() -> None:
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "third"},
    ]

    assert [message["content"] for message in trim_messages(messages, 18, count=size)] == ["second", "two", "third"]


def test_fit_leaves_room_for_tools_and_reply() -> None:
    route = Route(base_url="http://127.0.0.1:1/v1", model="m", context_window=600)
    history = [{"role": "user", "content": "word " * 60}, {"role": "assistant", "content": "word " * 60}]
    request = ChatRequest(messages=[*history, {"role": "user", "content": "now"}], max_output_tokens=300)
    tool = {"type": "function", "function": {"name": "f", "description": "word " * 400, "parameters": {}}}

    assert len(fit(request, route).messages) == 3
    assert [m["content"] for m in fit(ChatRequest(request.messages, tools=[tool]), route).messages] == ["now"]
