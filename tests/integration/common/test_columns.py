"""Arrays as parameters arrive in a real Postgres as they were given, and are written as psycopg writes lists."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

import psycopg
import pytest
from fakes.servers import PostgresServer
from flotilla_common.columns import Bigints, Blobs, Booleans, Doubles, Integers, Smallints, Texts, Uuids
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import PyFormat, Transformer

VALUES: dict[type[list[Any]], tuple[str, st.SearchStrategy[Any]]] = {
    Uuids: ("uuid", st.uuids()),
    Texts: ("text", st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    Blobs: ("bytea", st.binary()),
    Booleans: ("boolean", st.booleans()),
    Smallints: ("smallint", st.integers(-(2**15), 2**15 - 1)),
    Integers: ("integer", st.integers(-(2**31), 2**31 - 1)),
    Bigints: ("bigint", st.integers(-(2**63), 2**63 - 1)),
    Doubles: ("double precision", st.floats(allow_nan=False) | st.just(inf)),
}


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as opened:
        yield opened


@pytest.mark.parametrize("column", VALUES)
@given(data=st.data())
def test_column_arrives_as_it_was_given(
    connection: psycopg.Connection[Any], column: type[list[Any]], data: st.DataObject
) -> None:
    type_name, values = VALUES[column]
    given_values = data.draw(st.lists(st.none() | values, max_size=5))

    row = connection.execute(
        "SELECT %(values)s, pg_typeof(%(values)s)::text", {"values": column(given_values)}, binary=True
    ).fetchone()

    assert row == (given_values, f"{type_name}[]")


@pytest.mark.parametrize("column", VALUES)
@given(data=st.data())
def test_column_is_written_as_psycopg_writes_a_list(column: type[list[Any]], data: st.DataObject) -> None:
    items = data.draw(st.lists(VALUES[column][1], min_size=1, max_size=3))
    if column in (Smallints, Integers, Bigints):
        # Psycopg chooses the type by the largest number.
        items += [{Smallints: 2**15 - 1, Integers: 2**31 - 1, Bigints: 2**63 - 1}[column]]

    assert dumped(column(items)) == dumped(items)


@pytest.mark.parametrize(
    ("column", "value"), [(Smallints, 2**15), (Smallints, "1"), (Blobs, 3), (Texts, "\ud800"), (Uuids, "1")]
)
def test_value_that_does_not_fit_is_refused(column: type[list[Any]], value: object) -> None:
    with pytest.raises(psycopg.DataError):
        dumped(column([value]))


def dumped(values: list[Any]) -> tuple[int, bytes]:
    """Returns the array's type and its bytes."""
    dumper = Transformer().get_dumper(values, PyFormat.BINARY)
    return dumper.oid, bytes(dumper.dump(values) or b"")
