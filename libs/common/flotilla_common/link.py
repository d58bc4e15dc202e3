"""One connection for busy statements: prepared by name, sent and read below psycopg's cursors.

A cursor parses the statement, asks what is prepared and has the event loop watch the socket anew for each of its waits;
for a short statement that is half of what it costs on this side.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import select
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
_WELL = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY)
_COPIES = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)
_log = logging.getLogger(__name__)


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

    @property
    def is_idle(self) -> bool:
        """Whether the server is done with what it was asked, and another statement may follow."""
        return self._pgconn.transaction_status == TransactionStatus.IDLE

    async def fetch(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Runs a statement with named places, in the binary format, and returns its rows.

        Raises what a cursor raises; the link has to be closed then unless it is idle.
        """
        text, names, formats = self._numbered.get(statement) or self._number(statement)
        values = self._transformer.dump_sequence([parameters[name] for name in names], formats)
        types = self._transformer.types or ()
        try:
            # A number's size is part of its type.
            name = self._prepared.get((statement, types)) or await self._prepare(statement, text, types)
            self._pgconn.send_query_prepared(
                name, values, param_formats=self._transformer.formats, result_format=Format.BINARY
            )
            result = await self._result()
        except BaseException:
            if not self.is_idle:
                # At once: libpq may have closed the socket, and its number is the next one's that is opened.
                self._unwatch()
            raise
        if result.status != ExecStatus.TUPLES_OK:
            return []
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(0, result.ntuples, tuple)
        self._transformer.set_pgresult(None)
        return rows

    async def close(self) -> None:
        """Stops watching; a statement that is under way is cancelled at the server, and the connection closed."""
        self._unwatch()
        if self._pgconn.transaction_status == TransactionStatus.ACTIVE:
            try:
                await self.connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
            except psycopg.Error as error:
                _log.warning("a statement could not be cancelled", extra={"error": type(error).__name__})
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
        try:
            while (result := await self._next_result()) is not None:
                results.append(result)
        except psycopg.OperationalError:
            # What the server said before it ended the session tells more.
            if not results or results[-1].status in _WELL:
                raise
        # A commit may fail after its statement's rows.
        for result in results:
            if result.status not in _WELL:
                raise psycopg.errors.error_from_result(result)
        if not results:
            raise psycopg.OperationalError("the connection was closed under a statement")
        return results[0]

    async def _next_result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            await self._something()
            self._pgconn.consume_input()
        result = self._pgconn.get_result()
        if result is not None and result.status in _COPIES:
            raise psycopg.NotSupportedError("COPY needs a cursor")
        return result

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
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif is_readable(self._pgconn.socket):
            # Asked, because Python's own loop tells once more of what has been read meanwhile.
            self.is_stale = True
            self._unwatch()

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._watched = None


def is_readable(socket: int) -> bool:
    """Whether there is something to read, be it the end; costs microseconds."""
    poller = select.poll()
    poller.register(socket, select.POLLIN)
    return bool(poller.poll(0))
