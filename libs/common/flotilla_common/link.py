"""One connection for busy statements: prepared by name, sent and read below psycopg's cursors.

A cursor parses the statement, asks what is prepared and has the event loop watch the socket anew for each of its waits;
for a statement of 0.3 ms that is more than half of the work.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

_PLACE = re.compile(r"%(?:\((\w+)\)[bst]|%)")
_CANCEL_TIMEOUT_S = 5.0
_NUMBERS = itertools.count()
"""What is prepared stays with its connection, which may become another link's."""
_WITH_ROWS, _WITHOUT_ROWS = ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK


class Link:
    """Runs one statement at a time on an autocommit connection that nobody else uses meanwhile."""

    def __init__(self, connection: psycopg.AsyncConnection[TupleRow]) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._numbered: dict[str, tuple[bytes, Sequence[str], Sequence[PyFormat]]] = {}
        self._prepared: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._loop = asyncio.get_running_loop()
        self._watched: int | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.is_stale = False
        """Set when the server said something while nothing was asked: most likely it is going away."""

    async def fetch(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Runs a statement with named places, in the binary format, and returns its rows.

        Raises what a cursor raises; whatever it is, the link has to be closed then.
        """
        text, names, formats = self._numbered.get(statement) or self._number(statement)
        values = self._transformer.dump_sequence([parameters[name] for name in names], formats)
        types = self._transformer.types or ()
        # A number's size is part of its type.
        name = self._prepared.get((statement, types)) or await self._prepare(statement, text, types)
        self._pgconn.send_query_prepared(
            name, values, param_formats=self._transformer.formats, result_format=Format.BINARY
        )
        result = await self._result()
        if result.status == _WITHOUT_ROWS:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    async def close(self) -> None:
        """Stops watching; a statement that is under way is cancelled at the server, and the connection closed."""
        self._unwatch()
        if self._pgconn.transaction_status == TransactionStatus.ACTIVE:
            try:
                await self.connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
            finally:
                await self.connection.close()

    def _number(self, statement: str) -> tuple[bytes, Sequence[str], Sequence[PyFormat]]:
        places: dict[str, int] = {}

        def place(found: re.Match[str]) -> str:
            return f"${places.setdefault(found[1], len(places) + 1)}" if found[1] else "%"

        text = _PLACE.sub(place, statement).encode()
        known = self._numbered[statement] = (text, list(places), [PyFormat.BINARY] * len(places))
        return known

    async def _prepare(self, statement: str, text: bytes, types: tuple[int, ...]) -> bytes:
        name = b"link_%d" % next(_NUMBERS)
        self._pgconn.send_prepare(name, text, types)
        await self._result()
        self._prepared[statement, types] = name
        return name

    async def _result(self) -> PGresult:
        """Returns what the server answers. Raises psycopg.Error."""
        while self._pgconn.flush():
            # More than the socket takes at once; what the server says meanwhile has to be read, or neither goes on.
            self._loop.add_writer(self._pgconn.socket, self._wake)
            try:
                await self._something()
            finally:
                self._loop.remove_writer(self._pgconn.socket)
            self._pgconn.consume_input()
        results: list[PGresult] = []
        while True:
            while self._pgconn.is_busy():
                await self._something()
                self._pgconn.consume_input()
            result = self._pgconn.get_result()
            if result is None:
                break
            results.append(result)
        if not results:
            raise psycopg.OperationalError("the connection was closed under a statement")
        if results[0].status not in (_WITH_ROWS, _WITHOUT_ROWS):
            raise psycopg.errors.error_from_result(results[0])
        return results[0]

    async def _something(self) -> None:
        """Waits until the socket can be read, or written where that is waited for."""
        if self._watched is None:
            self._watched = self._pgconn.socket
            self._loop.add_reader(self._watched, self._wake)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is None:
            self.is_stale = True
            self._unwatch()
        elif not self._waiter.done():
            self._waiter.set_result(None)

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._watched = None
