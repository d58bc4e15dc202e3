import pytest
from flotilla_llm.tokens import at_most, count_message, count_text, message_at_most
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(max_size=300))
def test_bytes_bound_every_byte_level_encoding(text: str) -> None:
    assert at_most(text) >= len(text)


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
