"""Releases on Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from flotilla_common.lane import fetch
from flotilla_common.postgres import Pool, map_database_errors

from flotilla_orchestrator.stores.release_store import StoredRelease
from flotilla_orchestrator.stores.statements import releases as statements


class PostgresReleaseStore:
    """Implements ReleaseStore."""

    def __init__(self, pool: Pool) -> None:
        """Takes a pool that sees every tenant."""
        self._pool = pool

    async def add(self, releases: Sequence[StoredRelease]) -> Mapping[str, datetime]:
        """Keeps the releases that are not there yet; returns when each one was made."""
        arrays = {
            "agent": [release.agent for release in releases],
            "hash": [release.hash for release in releases],
            "content": [release.content for release in releases],
            "created_at": [release.created_at for release in releases],
        }
        with map_database_errors():
            async with self._pool.connection() as connection:
                await fetch(connection, statements.ADD, arrays)
                return dict(await fetch(connection, statements.CREATED_AT, arrays))

    async def find(self, agent: str, hash_prefix: str) -> StoredRelease | None:
        """Returns the agent's release whose hash begins so."""
        with map_database_errors():
            async with self._pool.connection() as connection:
                rows = await fetch(connection, statements.FIND, {"agent": agent, "hash_prefix": hash_prefix})
        return StoredRelease(*rows[0]) if len(rows) == 1 else None
