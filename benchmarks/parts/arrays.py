"""Arrays as parameters of a statement: of the columns that name their type, and plain lists as psycopg adapts them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from flotilla_common.columns import Bigints, Blobs, Booleans, Doubles, Integers, Smallints, Texts, Uuids
from psycopg import adapters
from psycopg.adapt import PyFormat, Transformer

from benchmarks.parts.part import Part, Take, WrongContentError

Arrays = Sequence[list[Any]]
_ID = UUID("0192f0c1-2b5a-7c3e-9f10-3a5b7c9d1e2f")
_ROW: Sequence[tuple[type[list[Any]], Any]] = (
    (Uuids, _ID), (Uuids, None), (Integers, 1), (Integers, 70_000), (Smallints, 3), (Smallints, None),
    (Bigints, 0), (Bigints, 2**40), (Doubles, 0.25), (Booleans, True), (Texts, "flotilla-dev"), (Texts, None),
    (Texts, "größer, als man denkt"), (Blobs, b"\x00\x01answer" * 20),
)  # fmt: skip
"""A column of each kind as statements that end a run have them, with what is mostly missing there."""
_ROWS = (1, 8)
"""A chat that is alone, and those that share a statement."""
_ANY = adapters.types["text"].array_oid
_AT_ONCE = 50


def dump(arrays: Arrays) -> tuple[Any, Sequence[Any]]:
    """Returns a statement's parameters as they are sent, and what knows their types; psycopg makes one a statement."""
    transformer = Transformer()
    return transformer, transformer.dump_sequence(arrays, [PyFormat.BINARY] * len(arrays))


def check(arrays: Arrays) -> None:
    """Raises WrongContentError unless arrays decode to what they were made of."""
    transformer, sent = dump(arrays)
    for array, data, oid, form in zip(arrays, sent, transformer.types or (), transformer.formats or (), strict=True):
        # Psycopg gives a plain list without a value no type; the statement's cast does.
        read = transformer.get_loader(oid or _ANY, form).load(data)
        if read != list(array):
            raise WrongContentError(f"{list(array)!r} was read as {read!r}")


@contextmanager
def open_arrays(_: Path, *, typed: bool) -> Iterator[Take]:
    """Dumps a statement's arrays again and again."""
    statements = {rows: [kind([value] * rows) if typed else [value] * rows for kind, value in _ROW] for rows in _ROWS}
    for arrays in statements.values():
        check(arrays)
    yield lambda seconds: {
        f"CPU of an array of {rows}": _cpu_us(partial(dump, arrays), seconds / len(_ROWS)) / len(arrays)
        for rows, arrays in statements.items()
    }


def _cpu_us(work: Callable[[], object], seconds: float) -> float:
    until, times, started = time.perf_counter() + seconds, 0, time.process_time()
    while time.perf_counter() < until:
        for _ in range(_AT_ONCE):
            work()
        times += _AT_ONCE
    return 1e6 * (time.process_time() - started) / times


PART = Part(
    "an array as parameter",
    {"typed": partial(open_arrays, typed=True), "plain list": partial(open_arrays, typed=False)},
    seconds=0.3,
)
