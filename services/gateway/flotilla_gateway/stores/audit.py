"""The audit log: only ever appended to."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from flotilla_common.ids import new_id
from flotilla_common.postgres import Connection, Pool, map_database_errors, tenant_transaction

from flotilla_gateway.model import AuditEntry

_APPEND = """
INSERT INTO audit_log
  (entry_id, tenant_id, user_id, credential_id, action, target, outcome, reason, address, request_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

_LIST = """
SELECT tenant_id, user_id, credential_id, action, target, outcome, reason, address, request_id
FROM audit_log WHERE tenant_id = %s ORDER BY entry_id DESC LIMIT %s
"""


class AuditLog(Protocol):
    """Keeps who did what."""

    async def append(self, entry: AuditEntry) -> None:
        """Stores an entry for good."""
        ...

    async def list(self, tenant_id: UUID, *, limit: int = 100) -> list[AuditEntry]:
        """Returns the newest entries of a tenant, newest first."""
        ...


class InMemoryAuditLog:
    """An audit log that lives as long as the process."""

    def __init__(self) -> None:
        self._entries: list[AuditEntry] = []

    async def append(self, entry: AuditEntry) -> None:
        """Stores an entry."""
        self._entries.append(entry)

    async def list(self, tenant_id: UUID, *, limit: int = 100) -> list[AuditEntry]:
        """Returns the newest entries of a tenant."""
        return [entry for entry in reversed(self._entries) if entry.tenant_id == tenant_id][:limit]


class PostgresAuditLog:
    """The audit log in Postgres, where the service's role may neither update nor delete."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def append(self, entry: AuditEntry) -> None:
        """Stores an entry. Raises UnavailableError when the database is away."""
        with map_database_errors():
            async with tenant_transaction(self._pool, entry.tenant_id) as connection:
                await append_entry(connection, entry)

    async def list(self, tenant_id: UUID, *, limit: int = 100) -> list[AuditEntry]:
        """Returns the newest entries of a tenant."""
        with map_database_errors():
            async with tenant_transaction(self._pool, tenant_id) as connection:
                rows = await (await connection.execute(_LIST, (tenant_id, limit))).fetchall()
        return [AuditEntry(*row) for row in rows]


async def append_entry(connection: Connection, entry: AuditEntry) -> None:
    """Stores an entry within a transaction of the caller's, so that no change goes unrecorded."""
    await connection.execute(
        _APPEND,
        (
            new_id(),
            entry.tenant_id,
            entry.user_id,
            entry.credential_id,
            entry.action,
            entry.target,
            entry.outcome,
            entry.reason,
            entry.address,
            entry.request_id,
        ),
    )
