"""API keys and whom they belong to; every change is recorded in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from flotilla_common.postgres import Connection, Pool, map_database_errors, tenant_transaction

from flotilla_gateway.model import ApiKey, AuditEntry, Scope, StoredKey
from flotilla_gateway.stores.audit import AuditLog, append_entry

_COLUMNS = """
k.key_id, k.tenant_id, k.user_id, k.name, k.prefix, k.scopes, k.create_time, k.expire_time, k.revoke_time,
k.requests_per_minute, u.name
"""
_FIND = f"SELECT {_COLUMNS}, k.key_hash FROM api_keys k JOIN users u USING (user_id) WHERE k.prefix = %s"  # noqa: S608  # constants only
_LIST = f"""
SELECT {_COLUMNS} FROM api_keys k JOIN users u USING (user_id) WHERE k.tenant_id = %s ORDER BY k.key_id DESC
"""  # noqa: S608  # constants only
_ENSURE_TENANT = "INSERT INTO tenants (tenant_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
# The update that changes nothing makes RETURNING give the row that was there.
_ENSURE_USER = """
INSERT INTO users (user_id, tenant_id, name) VALUES (%s, %s, %s)
ON CONFLICT (tenant_id, name) DO UPDATE SET name = excluded.name RETURNING user_id
"""
_PUT = """
INSERT INTO api_keys
  (key_id, tenant_id, user_id, name, prefix, key_hash, scopes, requests_per_minute, create_time, expire_time)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (key_id) DO UPDATE
SET prefix = excluded.prefix, key_hash = excluded.key_hash, scopes = excluded.scopes, revoke_time = NULL
"""
_REVOKE = """
UPDATE api_keys SET revoke_time = coalesce(revoke_time, now()) WHERE tenant_id = %s AND key_id = %s RETURNING key_id
"""


class KeyStore(Protocol):
    """Keeps API keys."""

    async def find(self, prefix: str) -> Sequence[StoredKey]:
        """Returns the keys of any tenant with this prefix, revoked and expired ones too."""
        ...

    async def put(self, stored: StoredKey, *, tenant_name: str | None = None, entry: AuditEntry) -> ApiKey:
        """Stores a key and the user it belongs to, found by name or made; an id that is there gets the new secret.

        tenant_name: make the tenant too when it is not there.
        """
        ...

    async def list(self, tenant_id: UUID) -> Sequence[ApiKey]:
        """Returns a tenant's keys, newest first."""
        ...

    async def revoke(self, tenant_id: UUID, key_id: UUID, *, entry: AuditEntry) -> bool:
        """Revokes a key for good; returns False when the tenant has no such key."""
        ...


class InMemoryKeyStore:
    """Keys that live as long as the process."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._stored: dict[UUID, StoredKey] = {}
        self._users: dict[tuple[UUID, str], UUID] = {}

    async def find(self, prefix: str) -> Sequence[StoredKey]:
        """Returns the keys with this prefix."""
        return [stored for stored in self._stored.values() if stored.key.prefix == prefix]

    async def put(self, stored: StoredKey, *, tenant_name: str | None = None, entry: AuditEntry) -> ApiKey:
        """Stores a key."""
        key = stored.key
        user_id = self._users.setdefault((key.tenant_id, key.user_name), key.user_id)
        kept = replace(key, user_id=user_id)
        self._stored[key.key_id] = StoredKey(kept, stored.key_hash)
        await self._audit.append(entry)
        return kept

    async def list(self, tenant_id: UUID) -> Sequence[ApiKey]:
        """Returns a tenant's keys."""
        keys = [stored.key for stored in self._stored.values() if stored.key.tenant_id == tenant_id]
        return sorted(keys, key=lambda key: key.key_id, reverse=True)

    async def revoke(self, tenant_id: UUID, key_id: UUID, *, entry: AuditEntry) -> bool:
        """Revokes a key."""
        stored = self._stored.get(key_id)
        if stored is None or stored.key.tenant_id != tenant_id:
            return False
        revoked = replace(stored.key, revoke_time=stored.key.revoke_time or datetime.now(UTC))
        self._stored[key_id] = StoredKey(revoked, stored.key_hash)
        await self._audit.append(entry)
        return True


class PostgresKeyStore:
    """Keys in Postgres.

    system_pool: sees all tenants, because a caller's tenant is known only once its key is found.
    """

    def __init__(self, pool: Pool, system_pool: Pool) -> None:
        self._pool = pool
        self._system_pool = system_pool

    async def find(self, prefix: str) -> Sequence[StoredKey]:
        """Returns the keys with this prefix. Raises UnavailableError when the database is away."""
        with map_database_errors():
            async with self._system_pool.connection() as connection:
                rows = await (await connection.execute(_FIND, (prefix,))).fetchall()
        return [StoredKey(_to_key(row), bytes(row[-1])) for row in rows]

    async def put(self, stored: StoredKey, *, tenant_name: str | None = None, entry: AuditEntry) -> ApiKey:
        """Stores a key and its user."""
        key = stored.key
        with map_database_errors():
            async with tenant_transaction(self._pool, key.tenant_id) as connection:
                if tenant_name is not None:
                    await connection.execute(_ENSURE_TENANT, (key.tenant_id, tenant_name))
                kept = replace(key, user_id=await _ensure_user(connection, key))
                await connection.execute(_PUT, _put_parameters(kept, stored.key_hash))
                await append_entry(connection, entry)
        return kept

    async def list(self, tenant_id: UUID) -> Sequence[ApiKey]:
        """Returns a tenant's keys."""
        with map_database_errors():
            async with tenant_transaction(self._pool, tenant_id) as connection:
                rows = await (await connection.execute(_LIST, (tenant_id,))).fetchall()
        return [_to_key(row) for row in rows]

    async def revoke(self, tenant_id: UUID, key_id: UUID, *, entry: AuditEntry) -> bool:
        """Revokes a key."""
        with map_database_errors():
            async with tenant_transaction(self._pool, tenant_id) as connection:
                revoked = await (await connection.execute(_REVOKE, (tenant_id, key_id))).fetchone()
                if revoked is not None:
                    await append_entry(connection, entry)
        return revoked is not None


async def _ensure_user(connection: Connection, key: ApiKey) -> UUID:
    cursor = await connection.execute(_ENSURE_USER, (key.user_id, key.tenant_id, key.user_name))
    row: Any = await cursor.fetchone()
    user_id: UUID = row[0]
    return user_id


def _put_parameters(key: ApiKey, key_hash: bytes) -> tuple[Any, ...]:
    return (
        key.key_id,
        key.tenant_id,
        key.user_id,
        key.name,
        key.prefix,
        key_hash,
        sorted(key.scopes),
        key.requests_per_minute,
        key.create_time,
        key.expire_time,
    )


def _to_key(row: Sequence[Any]) -> ApiKey:
    return ApiKey(
        key_id=row[0],
        tenant_id=row[1],
        user_id=row[2],
        name=row[3],
        prefix=row[4],
        scopes=frozenset(Scope(scope) for scope in row[5]),
        create_time=row[6],
        expire_time=row[7],
        revoke_time=row[8],
        requests_per_minute=row[9],
        user_name=row[10],
    )
