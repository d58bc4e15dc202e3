"""One suite for every key store and audit log; and what only Postgres promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fakes.gateway import Stores
from fakes.servers import ServiceDatabase
from flotilla_common.ids import new_id
from flotilla_common.postgres import tenant_transaction
from flotilla_gateway.model import ApiKey, AuditEntry, Scope, StoredKey
from flotilla_gateway.stores.audit import InMemoryAuditLog
from flotilla_gateway.stores.keys import InMemoryKeyStore


@pytest.fixture(params=["in memory", "postgres"])
def store_and_audit(request: pytest.FixtureRequest, stores: Stores) -> tuple[Any, Any]:
    if request.param == "postgres":
        return stores.keys, stores.audit
    audit = InMemoryAuditLog()
    return InMemoryKeyStore(audit), audit


def stored(**changes: Any) -> StoredKey:
    """Returns a key of a tenant of its own."""
    key = ApiKey(
        key_id=new_id(),
        tenant_id=new_id(),
        user_id=new_id(),
        name="test",
        prefix=f"fl_{new_id().hex[-9:]}",
        scopes=frozenset({Scope.CHAT, Scope.ADMIN}),
        create_time=datetime.now(UTC),
        expire_time=datetime.now(UTC) + timedelta(days=1),
        requests_per_minute=7,
        user_name="ann",
    )
    return StoredKey(replace(key, **changes), new_id().bytes * 2)


def entry_for(key: ApiKey, action: str = "create_key") -> AuditEntry:
    """Returns what is recorded about a change of the key."""
    return AuditEntry(key.tenant_id, key.user_id, key.key_id, action, f"key:{key.key_id}", "done", "", "::1", "r-1")


async def test_key_that_was_put_is_found_by_prefix(store_and_audit: tuple[Any, Any]) -> None:
    store, audit = store_and_audit
    made = stored()

    kept = await store.put(made, tenant_name=str(made.key.tenant_id), entry=entry_for(made.key))

    assert kept == made.key
    assert await store.find(made.key.prefix) == [made]
    assert await store.find("fl_nothing00") == []
    assert await audit.list(made.key.tenant_id) == [entry_for(made.key)]


async def test_keys_of_one_user_name_share_the_user(store_and_audit: tuple[Any, Any]) -> None:
    store, _ = store_and_audit
    first = stored()
    second = stored(tenant_id=first.key.tenant_id)
    await store.put(first, tenant_name=str(first.key.tenant_id), entry=entry_for(first.key))

    kept = await store.put(second, entry=entry_for(second.key))

    assert kept.user_id == first.key.user_id
    assert [key.key_id for key in await store.list(first.key.tenant_id)] == [second.key.key_id, first.key.key_id]


async def test_putting_an_id_again_gives_it_the_new_secret(store_and_audit: tuple[Any, Any]) -> None:
    store, _ = store_and_audit
    old = stored()
    await store.put(old, tenant_name=str(old.key.tenant_id), entry=entry_for(old.key))
    new = StoredKey(replace(old.key, prefix="fl_renewed00"), b"n" * 32)

    await store.put(new, entry=entry_for(new.key))

    assert await store.find(old.key.prefix) == []
    assert [found.key_hash for found in await store.find("fl_renewed00")] == [b"n" * 32]


async def test_revoked_key_stays_revoked_and_recorded(store_and_audit: tuple[Any, Any]) -> None:
    store, audit = store_and_audit
    made = stored()
    await store.put(made, tenant_name=str(made.key.tenant_id), entry=entry_for(made.key))
    revoked = entry_for(made.key, "revoke_key")

    assert await store.revoke(made.key.tenant_id, made.key.key_id, entry=revoked)
    first_time = (await store.find(made.key.prefix))[0].key.revoke_time
    assert await store.revoke(made.key.tenant_id, made.key.key_id, entry=revoked)

    assert (await store.find(made.key.prefix))[0].key.revoke_time == first_time is not None
    assert [entry.action for entry in await audit.list(made.key.tenant_id)] == [
        "revoke_key",
        "revoke_key",
        "create_key",
    ]


async def test_key_of_another_tenant_cannot_be_seen_or_revoked(store_and_audit: tuple[Any, Any]) -> None:
    store, audit = store_and_audit
    made, stranger = stored(), new_id()
    await store.put(made, tenant_name=str(made.key.tenant_id), entry=entry_for(made.key))

    assert not await store.revoke(stranger, made.key.key_id, entry=entry_for(made.key, "revoke_key"))

    assert await store.list(stranger) == []
    assert (await store.find(made.key.prefix))[0].key.revoke_time is None
    assert len(await audit.list(made.key.tenant_id)) == 1


async def test_row_level_security_alone_hides_other_tenants(stores: Stores) -> None:
    made = stored()
    await stores.keys.put(made, tenant_name=str(made.key.tenant_id), entry=entry_for(made.key))

    async with tenant_transaction(stores.pool, new_id()) as connection:
        counts = [
            await (await connection.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
            for table in ("tenants", "users", "api_keys", "audit_log")
        ]

    assert counts == [(0,)] * 4


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET outcome = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
def test_audit_log_is_append_only(gateway_database: ServiceDatabase, statement: str) -> None:
    with psycopg.connect(gateway_database.system_url) as connection:
        connection.execute("SET search_path = gateway")

        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_service_role_has_no_ddl(gateway_database: ServiceDatabase) -> None:
    with psycopg.connect(gateway_database.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE gateway.mine (id int)")
