from collections.abc import Mapping
from typing import Any

from flotilla_llm.tokens import count_message
from flotilla_llm.trim import TOKENS, Count, Measure, trim_messages
from hypothesis import given
from hypothesis import strategies as st

Message = Mapping[str, Any]


def size(message: Message) -> int:
    return 1 + len(message.get("content") or "")


def loosely(count: Count, slack: int = 3) -> Measure:
    return Measure(count, lambda message: max(count(message) - slack, 0), lambda message: count(message) + slack)


SIZE = loosely(size)


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
    calls, results = answered(trim_messages(messages, limit, SIZE))

    assert calls == results


@given(conversations(), st.integers(0, 60))
def test_trim_stays_within_the_limit_unless_the_minimum_does_not(messages: list[Message], limit: int) -> None:
    kept = trim_messages(messages, limit, SIZE)

    assert sum(map(size, kept)) <= max(limit, minimum(messages))


@given(conversations(), st.integers(0, 60))
def test_trim_keeps_order_system_and_the_last_user_message(messages: list[Message], limit: int) -> None:
    kept = trim_messages(messages, limit, SIZE)

    places = [next(at for at, message in enumerate(messages) if message is one) for one in kept]
    assert places == sorted(set(places))
    needed = [message for message in messages if message["role"] == "system"]
    needed += [message for message in messages if message["role"] == "user"][-1:]
    assert all(any(message is one for one in kept) for message in needed)


@given(conversations())
def test_trim_keeps_everything_that_fits(messages: list[Message]) -> None:
    assert trim_messages(messages, sum(map(size, messages)), SIZE) == messages
    assert trim_messages(messages, sum(map(count_message, messages))) == messages


def test_trim_drops_whole_turns_oldest_first() -> None:
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "third"},
    ]

    assert [message["content"] for message in trim_messages(messages, 18, SIZE)] == ["second", "two", "third"]


def trimmed_by_counting_all(messages: list[Message], limit: int) -> list[Message]:
    """Trims as the rules read, with an exact count of everything."""
    system = [message for message in messages if message["role"] == "system"]
    blocks: list[list[Message]] = []
    for message in messages:
        if message["role"] == "tool":
            blocks[-1].append(message)
        elif message["role"] != "system":
            blocks.append([message])
    starts = [at for at, block in enumerate(blocks) if at == 0 or block[0]["role"] == "user"]
    turns = [blocks[start:end] for start, end in zip(starts, [*starts[1:], len(blocks)], strict=False)]
    if not turns:
        return system
    *earlier, current = turns
    kept = [*system, *(current[0] if len(current) > 1 else []), *current[-1]]
    parts = [[message for block in turn for message in block] for turn in earlier] + current[1:-1]
    while parts and sum(map(size, [*kept, *parts[-1]])) <= limit:
        kept += parts.pop()
    return [message for message in messages if any(message is one for one in kept)]


@given(conversations(), st.integers(0, 60), st.integers(0, 40))
def test_trim_with_bounds_is_as_trim_by_counting_all(messages: list[Message], limit: int, slack: int) -> None:
    assert trim_messages(messages, limit, loosely(size, slack)) == trimmed_by_counting_all(messages, limit)


@given(conversations(), st.integers(0, 60), st.integers(0, 8))
def test_trim_counts_no_message_twice(messages: list[Message], limit: int, slack: int) -> None:
    counted: list[int] = []

    def count(message: Message) -> int:
        counted.append(id(message))
        return size(message)

    trim_messages(messages, limit, Measure(count, SIZE.at_least, loosely(size, slack).at_most))

    assert len(counted) == len(set(counted))


def test_trim_counts_only_where_bounds_do_not_tell() -> None:
    counted: list[str] = []

    def count(message: Message) -> int:
        counted.append(message["content"][:5])
        return count_message(message)

    measure = Measure(count, TOKENS.at_least, TOKENS.at_most)
    large = "large " * 10_000
    question = {"role": "user", "content": "question"}
    earlier = [
        {"role": "user", "content": "older " * 10_000},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": "newer"},
    ]

    assert trim_messages([{"role": "system", "content": large}, question], 100, measure) != []
    assert counted == []
    assert trim_messages([*earlier, question], 200_000, measure) == [*earlier, question]
    assert counted == []
    assert trim_messages([*earlier, question], 100, measure) == [earlier[2], question]
    assert counted == ["quest", "newer"]
    assert trim_messages([*earlier, {"role": "user", "content": large}], 100, measure) != []
    assert counted == ["quest", "newer"]
