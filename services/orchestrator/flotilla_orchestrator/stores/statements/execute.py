"""Running a statement and fetching what it returns, in the binary format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flotilla_common.postgres import Connection


async def fetch(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Returns the rows of a statement of this package; all of them are constants."""
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(statement.encode(), parameters)
        # Not `description`, which makes an object of every column.
        return [] if cursor.rownumber is None else await cursor.fetchall()


async def fetch_ids(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> set[UUID]:
    """Returns the run ids that a statement returns."""
    return {row[0] for row in await fetch(connection, statement, parameters)}
