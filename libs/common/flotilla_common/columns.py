"""Arrays as parameters of statements, one a column of what `unnest` gives.

Psycopg dumps a plain list after looking for its type in its values, which takes several times as long as writing them;
a number's size or a missing value changes that type, and so the statement that is prepared. These name it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct("!iiIii")
"""Dimensions, whether a value is missing, the values' type, how many there are, and the first one's number."""
_NO_VALUES = struct.Struct("!iiI")
_LENGTH = struct.Struct("!i")
_MISSING = _LENGTH.pack(-1)


class Uuids(list[UUID | None]):
    """uuid[]."""


class Texts(list[str | None]):
    """text[]."""


class Blobs(list[bytes | None]):
    """bytea[]."""


class Booleans(list[bool | None]):
    """boolean[]."""


class Smallints(list[int | None]):
    """smallint[]."""


class Integers(list[int | None]):
    """integer[]."""


class Bigints(list[int | None]):
    """bigint[]."""


class Doubles(list[float | None]):
    """double precision[]."""


class _ColumnDumper(Dumper):
    """Writes a column in Postgres's binary format for arrays of one dimension (array_recv in its arrayfuncs.c)."""

    format = Format.BINARY
    value_oid: ClassVar[int]
    write: Callable[[Any], bytes]

    def dump(self, obj: list[Any]) -> bytes:
        """Returns the array. Raises psycopg.DataError when a value cannot be written as one of the type."""
        if not obj:
            return _NO_VALUES.pack(0, 0, self.value_oid)
        try:
            return self._dump(obj)
        except (struct.error, AttributeError, TypeError, UnicodeEncodeError) as exc:
            raise psycopg.DataError(f"a value is no {type(obj).__name__}: {exc}") from exc

    def _dump(self, obj: list[Any]) -> bytes:
        pieces, has_missing, write = [b""], 0, self.write
        for value in obj:
            if value is None:
                has_missing = 1
                pieces.append(_MISSING)
            else:
                data = write(value)
                pieces += (_LENGTH.pack(len(data)), data)
        pieces[0] = _HEAD.pack(1, has_missing, self.value_oid, len(obj), 1)
        return b"".join(pieces)


def _register(column: type[list[Any]], type_name: str, write: Callable[[Any], bytes]) -> None:
    info = psycopg.adapters.types[type_name]
    members = {"oid": info.array_oid, "value_oid": info.oid, "write": staticmethod(write)}
    psycopg.adapters.register_dumper(column, type(f"{column.__name__}Dumper", (_ColumnDumper,), members))


_register(Uuids, "uuid", attrgetter("bytes"))
_register(Texts, "text", str.encode)
_register(Blobs, "bytea", bytes.__bytes__)
_register(Booleans, "bool", struct.Struct("!?").pack)
_register(Smallints, "int2", struct.Struct("!h").pack)
_register(Integers, "int4", struct.Struct("!i").pack)
_register(Bigints, "int8", struct.Struct("!q").pack)
_register(Doubles, "float8", struct.Struct("!d").pack)
