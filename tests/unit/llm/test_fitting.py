import threading

import pytest
from flotilla_llm import tokens
from flotilla_llm.fitting import Fitting
from flotilla_llm.model import ChatRequest

Counted = list[tuple[str, bool]]
"""The first word of each text that was counted, and whether on this thread."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """What is counted exactly while the test runs."""
    seen: Counted = []
    here, count = threading.get_ident(), tokens.count_text

    def count_text(text: str) -> int:
        seen.append((text.partition(" ")[0], threading.get_ident() == here))
        return count(text)

    monkeypatch.setattr(tokens, "count_text", count_text)
    return seen


def talk(*texts: str, **options: object) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": text} for text in texts], **options)  # type: ignore[arg-type]


def contents(request: ChatRequest) -> list[str]:
    return [message["content"].partition(" ")[0] for message in request.messages]


async def test_fitting_leaves_room_for_tools_and_reply() -> None:
    messages = [*talk("one " + "word " * 60, "two " + "word " * 60).messages, *talk("now").messages]
    tool = {"type": "function", "function": {"name": "f", "description": "word " * 400, "parameters": {}}}

    plain = await Fitting(ChatRequest(messages, max_output_tokens=300)).to(600)
    tooled = await Fitting(ChatRequest(messages, tools=[tool], max_output_tokens=300)).to(600)

    assert contents(plain) == ["one", "two", "now"]
    assert contents(tooled) == ["now"]


async def test_what_surely_fits_is_the_request_itself_and_not_counted(counted: Counted) -> None:
    request = talk("large " * 30_000, "now", tools=[{"type": "function", "function": {"name": "f"}}])

    assert await Fitting(request).to(1_000_000) is request
    assert counted == []


async def test_each_window_is_fitted_once(counted: Counted) -> None:
    fitting = Fitting(talk("one " + "word " * 500, "two", "now"))

    first, again = await fitting.to(400), await fitting.to(400)
    wide = await fitting.to(5_000)

    assert first is again
    assert (contents(first), contents(wide)) == (["two", "now"], ["one", "two", "now"])
    assert [word for word, _ in counted] == ["now", "two", "one"]


@pytest.mark.parametrize(("words", "is_on_the_loop"), [(1_000, True), (100_000, False)])
async def test_only_a_large_request_is_counted_in_a_thread(counted: Counted, words: int, is_on_the_loop: bool) -> None:
    request = talk("one " * words, "two", "now")

    fitted = await Fitting(request).to(words)

    assert contents(fitted) == ["two", "now"]
    assert {here for _, here in counted} == {is_on_the_loop}
