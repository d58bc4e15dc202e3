"""Lanes: each keeps one connection of a pool for its busy statements, one after another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flotilla_common.link import Link

if TYPE_CHECKING:
    from flotilla_common.postgres import Connection, Pool

_KEPT_S = 600.0
"""After so long a connection goes back to its pool, which replaces the old ones."""


async def fetch(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Runs a statement by a cursor, in the binary format, and returns its rows; all statements are constants."""
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(statement.encode(), parameters)
        # Not `description`, which makes an object of every column.
        return [] if cursor.rownumber is None else await cursor.fetchall()


class Lane:
    """Runs busy statements without what pool and cursor do for each, which is half of a short one's cost here.

    A statement that finds another one under way, or nothing kept, goes by the pool. Statements are transactions of
    their own.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._link: Link | None = None
        self._is_busy = False
        self._is_closed = False
        self._kept_until = 0.0

    async def fetch(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Runs a statement and returns its rows. Raises what psycopg and its pool raise."""
        if self._is_busy:
            return await self._by_the_pool(statement, parameters)
        self._is_busy = True
        try:
            link = await self._open_link()
            if link is None:
                return await self._by_the_pool(statement, parameters)
            return await link.fetch(statement, parameters)
        except BaseException:
            if self._link is not None and not self._link.is_idle:
                await self._give_back()
            raise
        finally:
            self._is_busy = False
            if self._is_closed:
                await self._give_back()

    async def close(self) -> None:
        """Gives the kept connection back, at once or when its statement has ended."""
        self._is_closed = True
        if not self._is_busy:
            await self._give_back()

    async def _by_the_pool(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            return await fetch(connection, statement, parameters)

    async def _open_link(self) -> Link | None:
        """Returns the kept connection, or None where the pool can spare none."""
        if self._link is not None and (self._link.is_stale or time.monotonic() > self._kept_until):
            await self._give_back()
        if self._link is None and not self._is_closed and self._pool.kept < self._pool.max_size // 2:
            # Counted before it is waited for, so that lanes which begin together keep no more than that.
            self._pool.kept += 1
            try:
                self._link = Link(await self._pool.getconn())
            finally:
                self._pool.kept -= self._link is None
            self._kept_until = time.monotonic() + _KEPT_S
        return self._link

    async def _give_back(self) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        self._pool.kept -= 1
        # Whoever is cancelled meanwhile must not take the connection with them.
        await asyncio.shield(self._pool.in_background(_return(link, self._pool)))


async def _return(link: Link, pool: Pool) -> None:
    try:
        await link.close()
    finally:
        await pool.putconn(link.connection)
