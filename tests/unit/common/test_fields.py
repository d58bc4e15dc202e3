"""Page tokens: opaque, exact, and refused when they are not ours."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from flotilla_common.errors import InvalidArgumentError
from flotilla_common.rpc.fields import read_page_token, write_page_token
from hypothesis import given
from hypothesis import strategies as st


def pair(moment: datetime, id_: UUID) -> tuple[datetime, UUID]:
    return moment, id_


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_page_token_comes_back_as_it_was(moment: datetime, id_: UUID) -> None:
    assert read_page_token(write_page_token((moment, id_)), pair) == (moment, id_)


def test_no_position_is_an_empty_token() -> None:
    assert write_page_token(None) == ""
    assert read_page_token("", pair) is None


@given(st.text(min_size=1))
def test_foreign_page_token_is_invalid_or_a_position(token: str) -> None:
    with suppress(InvalidArgumentError):
        assert read_page_token(token, pair) is not None


@pytest.mark.parametrize("token", ["x", "AAAA", "=" * 32, "é", "A" * 33, "A" * 10_000])
def test_nonsense_page_token_is_invalid(token: str) -> None:
    with pytest.raises(InvalidArgumentError):
        read_page_token(token, pair)
