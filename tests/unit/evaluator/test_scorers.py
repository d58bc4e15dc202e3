"""What each scorer measures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from uuid import uuid4

import pytest
from flotilla_evaluator.model import Message, Observation, Role, ToolCall
from flotilla_evaluator.scorers.answered import Answered
from flotilla_evaluator.scorers.grounded import Grounded
from flotilla_evaluator.scorers.scorer import score_all
from flotilla_evaluator.scorers.tools_succeeded import ToolsSucceeded
from hypothesis import given
from hypothesis import strategies as st


def run(*messages: Message, failed: int = 0) -> Observation:
    return Observation(uuid4(), "assistant", "r", messages, [], 0.1, datetime.now(UTC), failed)


def asked(text: str) -> Message:
    return Message(Role.HUMAN, text)


def said(text: str) -> Message:
    return Message(Role.ASSISTANT, text)


def called(arguments: str, result: str) -> tuple[Message, Message]:
    return (
        Message(Role.ASSISTANT, "", tool_calls=[ToolCall("c", "tool", arguments)]),
        Message(Role.TOOL, result, tool_call_id="c"),
    )


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("Oslo is the capital of Norway.", 1),
        ("I'm sorry to hear that. Here is what helps.", 1),
        ("The error in your code is on line 3.", 1),
        ("You can't divide by zero.", 1),
        ("", 0),
        ("   ", 0),
        ("I'm sorry, but I can't help with that.", 0),
        ("I cannot answer this question.", 0),
        ("Unfortunately I am not able to assist you here.", 0),
        ("Error: the upstream is away", 0),
        ("Something went wrong.", 0),
    ],
)
def test_answered(answer: str, value: float) -> None:
    assert Answered().score(run(asked("?"), said(answer))).value == value


def test_answered_of_a_run_that_ends_with_a_tool_call_is_0() -> None:
    assert Answered().score(run(asked("?"), *called("{}", "1"))).value == 0
    assert Answered().score(run()).value == 0


@pytest.mark.parametrize(
    ("results", "failed", "value"), [(0, 0, 1), (2, 0, 1), (4, 1, 0.75), (1, 1, 0), (0, 2, 0), (1, -1, 1)]
)
def test_tools_succeeded(results: int, failed: int, value: float) -> None:
    messages = [message for _ in range(results) for message in called("{}", "x")]

    assert ToolsSucceeded().score(run(asked("?"), *messages, said("Done."), failed=failed)).value == value


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("17 % of 2,349 is 399.33.", 1),
        ("It is 399.33, or about 399.3.", 1),
        ("It is 400.12.", 0),
        ("17 % of 2349 is 401.5.", 2 / 3),
        ("1. It is 399.33", 1),
        ("Well, that is quite a lot.", 1),
        ("As asked by Ada, it is 399.33.", 1),
        ("As asked by Bob, it is 399.33.", 0.5),
    ],
)
def test_grounded_looks_claims_up(answer: str, value: float) -> None:
    observation = run(
        asked("I am Ada. What is 17 % of 2,349?"), *called('{"expression":"17 % of 2349"}', "399.33"), said(answer)
    )

    assert Grounded().score(observation).value == pytest.approx(value)


def test_grounded_compares_with_the_longest_figures() -> None:
    longest = "1234567890" * 4
    observation = run(asked("?"), *called("{}", f"{longest} 5.5"), said(f"It is 5.5 and 7, or 0.{longest[:38]}."))

    assert Grounded().score(observation).value == pytest.approx(1 / 3)


def test_grounded_takes_no_list_marker_for_a_figure() -> None:
    observation = run(
        asked("?"), *called("{}", "5.5"), said("These:\n\n \n  1. 5.5\n 2) 5.5\n\n3.\n5.5\n4.\tIt is 5.5.")
    )

    assert Grounded().score(observation).value == 1


def test_grounded_reads_many_blank_lines_in_no_time() -> None:
    observation = run(asked("?"), *called("{}", "5.5"), said("It is" + "\n" * 100_000 + "5.5 or 6.5."))
    began = time.monotonic()

    assert Grounded().score(observation).value == 0.5
    assert time.monotonic() - began < 5


def is_known_by_definition(claimed: Decimal, known: Sequence[Decimal]) -> bool:
    with localcontext(prec=100):
        places = -int(claimed.as_tuple().exponent)
        return any(number == claimed or round(number, places) == claimed for number in known)


figures = st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4})?|[0-9]{1,20}(\.[0-9]{1,19})?|[0-9]\.[0-9]?[05]", fullmatch=True)


@st.composite
def claims_and_evidence(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Figures, and claims of which many are such a figure rounded, or nearly."""
    known = draw(st.lists(figures, max_size=8))
    claims = draw(st.lists(figures, min_size=1, max_size=4))
    for number in known:
        places = draw(st.integers(0, 4))
        unit = Decimal(1).scaleb(-places)
        rounded = Decimal(number).quantize(unit, context=Context(prec=80))
        claims.append(f"{rounded + draw(st.sampled_from([Decimal(0), unit])):f}")
    return claims, known


@given(claims_and_evidence())
def test_grounded_finds_exactly_the_figures_that_are_known_or_known_rounded(case: tuple[list[str], list[str]]) -> None:
    claims, known = case
    expected = [is_known_by_definition(Decimal(claim), [*map(Decimal, known)]) for claim in dict.fromkeys(claims)]

    score = Grounded().score(run(asked("?"), *called("{}", " ".join(known)), said("It is " + " and ".join(claims))))

    assert score.value == pytest.approx(sum(expected) / len(expected))


def test_grounded_bounds_its_time_whatever_the_run_holds() -> None:
    evidence = " ".join(map(str, range(500_000)))
    places = " ".join(f"1.{'7' * count}" for count in range(1, 39))
    claims = " ".join(f"{number}.5" for number in range(2_000_000, 2_005_000))
    names = " ".join(f"to X{chr(97 + at // 676)}{chr(97 + at // 26 % 26)}{chr(97 + at % 26)}z" for at in range(5_000))
    observation = run(asked("?"), *called("{}", evidence), said(f"It is 7 and {places} {claims} {names}"))
    began = time.monotonic()

    score = Grounded().score(observation)

    assert time.monotonic() - began < 20
    assert score.value == 1 / 1_300


def test_grounded_measures_only_runs_with_tools() -> None:
    assert Grounded().score(run(asked("Who wrote Faust?"), said("It was Goethe, in 1808."))).value == 1


def test_grounded_does_not_take_the_models_own_words_for_evidence() -> None:
    observation = run(asked("?"), said("It may be 7."), *called("{}", "5"), said("It is 7."))

    assert Grounded().score(observation).value == 0


messages = st.lists(
    st.builds(Message, role=st.sampled_from(Role), content=st.text() | st.from_regex(r"[0-9,. ]{0,60}")), max_size=6
)


@given(messages, st.integers(-1, 5))
def test_every_run_has_three_scores_between_0_and_1_always_the_same(some: list[Message], failed: int) -> None:
    observation = run(*some, failed=failed)
    scorers = (ToolsSucceeded(), Answered(), Grounded())

    scores = score_all(observation, scorers)

    assert [score.key for score in scores] == ["answered", "grounded", "tools_succeeded"]
    assert all(0 <= score.value <= 1 and score.explanation for score in scores)
    assert score_all(observation, scorers) == scores
