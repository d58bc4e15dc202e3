"""Page tokens: opaque, exact, and refused when they are not ours."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from flotilla_common.errors import InvalidArgumentError
from flotilla_memory.model import PagePosition
from flotilla_memory.wire import read_page_token, write_page_token
from hypothesis import given
from hypothesis import strategies as st


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_page_token_comes_back_as_it_was(created_at: datetime, memory_id: UUID) -> None:
    position = PagePosition(created_at, memory_id)

    assert read_page_token(write_page_token(position)) == position


def test_no_position_is_an_empty_token() -> None:
    assert write_page_token(None) == ""
    assert read_page_token("") is None


@given(st.text(min_size=1))
def test_foreign_page_token_is_invalid_or_a_position(token: str) -> None:
    with suppress(InvalidArgumentError):
        assert read_page_token(token) is not None


@pytest.mark.parametrize("token", ["x", "AAAA", "=" * 32, "é", "A" * 33, "A" * 10_000])
def test_nonsense_page_token_is_invalid(token: str) -> None:
    with pytest.raises(InvalidArgumentError):
        read_page_token(token)
