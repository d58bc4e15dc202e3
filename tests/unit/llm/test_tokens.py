import pytest
from flotilla_llm import tokens
from flotilla_llm.tokens import (
    at_least,
    at_most,
    count_message,
    count_text,
    count_tools,
    message_at_least,
    message_at_most,
    tools_at_most,
)
from hypothesis import given
from hypothesis import strategies as st

dense = st.sampled_from(["a", "abcde", " abcde", "B", "é", "世", "𒀀", "²", "7", "٣", ".", "_", "→", "😀", "\ud800"])
sparse = st.sampled_from([" ", " " * 15, "\n" * 31, "\r\n", "\t", "\u2003", "\x1c"])
texts = st.one_of(
    st.text(max_size=300),
    st.lists(st.one_of(dense, sparse), max_size=60).map("".join),
    st.tuples(dense | sparse, st.integers(1, 70)).map(lambda drawn: drawn[0] * drawn[1]),
)


@given(st.text(max_size=300))
def test_bytes_bound_every_byte_level_encoding(text: str) -> None:
    assert at_most(text) >= len(text)


@given(texts)
def test_bounds_hold_the_count(text: str) -> None:
    assert at_least(text) <= count_text(text) <= at_most(text)


@given(st.lists(texts, min_size=4, max_size=4))
def test_bounds_hold_the_count_of_messages_and_tools(drawn: list[str]) -> None:
    content, name, function, arguments = drawn
    calls = [{"id": "c", "function": {"name": function, "arguments": arguments}}]
    message = {"role": "assistant", "content": [{"text": content}], "name": name, "tool_calls": calls}
    tools = [{"function": {"name": text.encode("utf-8", "replace").decode()}} for text in drawn]

    assert message_at_least(message) <= count_message(message) <= message_at_most(message)
    assert count_tools(tools) <= tools_at_most(tools)


def test_long_text_is_counted_once_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    count = tokens._count

    def count_noted(text: str) -> int:
        counted.append(len(text))
        return count(text)

    monkeypatch.setattr(tokens, "_count", count_noted)

    first, again = (count_text("".join(["never seen before "] * 1000)) for _ in range(2))

    assert first == again == count("never seen before " * 1000)
    assert counted == [18000]


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("antidisestablishmentarianism", 6),
        ("2 + 2 = 4", 7),
        ("お誕生日おめでとう", 9),
        ("The quick brown fox jumps over the lazy dog.", 10),
    ],
)
def test_count_is_at_least_cl100ks_and_not_twice_as_high(text: str, exact: int) -> None:
    # The exact numbers are those of OpenAI's cookbook, "How to count tokens with tiktoken".
    assert exact <= count_text(text) <= 2 * exact


def test_count_of_other_scripts_is_at_least_a_token_for_two_letters() -> None:
    assert count_text("Привет, как дела сегодня") >= 12


def test_message_counts_its_tool_calls() -> None:
    plain = {"role": "assistant", "content": "ok"}
    calling = {**plain, "tool_calls": [{"id": "c", "function": {"name": "clock", "arguments": '{"zone":"UTC"}'}}]}

    assert count_message(calling) > count_message(plain)
    assert message_at_most(calling) >= count_message(calling) - 4
