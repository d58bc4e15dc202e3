"""Depth of JSON and the rate limit: small algorithms with an invariant each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flotilla_gateway.limits.window import LocalLimiter
from flotilla_gateway.middleware.body import is_deeper
from flotilla_gateway.wires.openai.schema import ChatCompletionRequest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    """Returns the nesting of a value, measured the slow way."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(JSON, st.integers(0, 6), st.booleans())
def test_depth_is_measured_right(value: Any, most: int, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    assert is_deeper(body, most) == (depth_of(value) > most)


def test_brackets_in_strings_are_no_depth() -> None:
    assert not is_deeper(json.dumps(["[" * 1000 + '"\\' + "{" * 1000]).encode(), 64)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit", [b'\\"', b'"', b'"\\', b"\\", b'\\\\"', b'"[', b"[", b'{"'], ids=lambda unit: unit.decode()
)
def test_depth_of_a_hostile_megabyte_is_known_soon(unit: bytes) -> None:
    """Work that grows with the square of the body would take most of an hour."""
    body = b"[" * 65 + unit * (1_000_000 // len(unit))

    is_deeper(body, 64)


def test_hostile_body_is_refused_with_few_errors() -> None:
    """Each error costs a kilobyte: those of a megabyte of wrong calls would take the process's memory."""
    wrong = [{"role": "assistant", "tool_calls": [{}] * 128}] * 2_000

    with pytest.raises(ValidationError) as caught:
        ChatCompletionRequest.model_validate({"model": "assistant", "messages": wrong})

    assert caught.value.error_count() <= 256


@pytest.mark.parametrize("metadata", [{str(number): 1 for number in range(100_000)}, {"k" * 65: 1}])
def test_metadata_out_of_bounds_is_one_error(metadata: dict[str, int]) -> None:
    ask = {"model": "assistant", "messages": [{"role": "user", "content": "x"}], "metadata": metadata}

    with pytest.raises(ValidationError) as caught:
        ChatCompletionRequest.model_validate(ask)

    assert [error["loc"] for error in caught.value.errors()] == [("metadata",)]


@given(st.integers(1, 60), st.lists(st.floats(0, 20), max_size=200))
def test_no_minute_has_more_than_the_limit(per_minute: int, gaps: list[float]) -> None:
    now = 1000.0
    limiter = LocalLimiter(clock=lambda: now)
    passed: list[float] = []
    for gap in gaps:
        now += gap
        verdict = limiter.take("k", per_minute=per_minute)
        if verdict.is_allowed:
            passed.append(now)

        assert sum(at > now - 60 for at in passed) <= per_minute
        assert 0 <= verdict.remaining < per_minute


def test_whole_limit_passes_at_once_and_the_next_when_it_says() -> None:
    now = 0.5
    limiter = LocalLimiter(clock=lambda: now)

    verdicts = [limiter.take("k", per_minute=6) for _ in range(7)]
    now += verdicts[-1].retry_after_s
    later = limiter.take("k", per_minute=6)

    assert [verdict.is_allowed for verdict in verdicts] == [True] * 6 + [False]
    assert [verdict.remaining for verdict in verdicts] == [5, 4, 3, 2, 1, 0, 0]
    assert verdicts[-1].retry_after_s == 60.5
    assert later.is_allowed


def test_keys_do_not_share_a_limit() -> None:
    limiter = LocalLimiter(clock=lambda: 0.0)

    assert limiter.take("a", per_minute=1).is_allowed
    assert limiter.take("b", per_minute=1).is_allowed
    assert not limiter.take("a", per_minute=1).is_allowed
