"""What the gateway itself owns: API keys, made, listed and revoked by administrators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from flotilla_common.errors import InvalidArgumentError, NotFoundError
from flotilla_common.ids import new_id

from flotilla_gateway.auth.credentials import KeyHasher, mint_key, prefix_of
from flotilla_gateway.model import (
    ADMIN_KEY_ID,
    ADMIN_USER_ID,
    DEFAULT_TENANT_ID,
    ApiKey,
    AuditEntry,
    NewApiKey,
    Origin,
    Principal,
    Scope,
    StoredKey,
)
from flotilla_gateway.stores.keys import KeyStore


class KeyService:
    """Manages API keys within the caller's tenant.

    on_revoked: told after a revocation, so that what is remembered here is forgotten at once.
    """

    def __init__(self, store: KeyStore, hasher: KeyHasher, *, on_revoked: Callable[[], None]) -> None:
        self._store = store
        self._hasher = hasher
        self._on_revoked = on_revoked

    async def create(self, caller: Principal, new: NewApiKey, origin: Origin) -> tuple[ApiKey, str]:
        """Returns a new key and its text, which nobody can see again.

        Raises InvalidArgumentError when the key would be born expired.
        """
        now = datetime.now(UTC)
        if new.expire_time is not None and new.expire_time <= now:
            raise InvalidArgumentError("The key would expire before it is made.", field="expires_at")
        secret, key_id = mint_key(), new_id()
        key = ApiKey(
            key_id=key_id,
            tenant_id=caller.tenant_id,
            user_id=new_id(),
            name=new.name,
            prefix=prefix_of(secret),
            scopes=new.scopes,
            create_time=now,
            expire_time=new.expire_time,
            requests_per_minute=new.requests_per_minute,
            user_name=new.user or f"key:{key_id}",
        )
        stored = StoredKey(key, self._hasher.hash(secret))
        return await self._store.put(stored, entry=_entry(caller, "create_key", key_id, origin)), secret

    async def list(self, caller: Principal) -> Sequence[ApiKey]:
        """Returns the keys of the caller's tenant, newest first, without their secrets."""
        return await self._store.list(caller.tenant_id)

    async def revoke(self, caller: Principal, key_id: UUID, origin: Origin) -> None:
        """Revokes a key on all replicas within seconds. Raises NotFoundError when the tenant has no such key."""
        entry = _entry(caller, "revoke_key", key_id, origin)
        if not await self._store.revoke(caller.tenant_id, key_id, entry=entry):
            raise NotFoundError("No such API key.", reason="key_not_found")
        self._on_revoked()

    async def install_admin_key(self, secret: str) -> None:
        """Makes the default tenant, its administrator and the key that `secret` is, or gives that key this secret."""
        key = ApiKey(
            key_id=ADMIN_KEY_ID,
            tenant_id=DEFAULT_TENANT_ID,
            user_id=ADMIN_USER_ID,
            name="admin",
            prefix=prefix_of(secret),
            scopes=frozenset({Scope.ADMIN, Scope.CHAT, Scope.EMBEDDINGS}),
            create_time=datetime.now(UTC),
            user_name="admin",
        )
        entry = AuditEntry(
            tenant_id=DEFAULT_TENANT_ID,
            user_id=ADMIN_USER_ID,
            credential_id=None,
            action="install_admin_key",
            target=f"key:{ADMIN_KEY_ID}",
            outcome="done",
        )
        await self._store.put(StoredKey(key, self._hasher.hash(secret)), tenant_name="default", entry=entry)


def _entry(caller: Principal, action: str, key_id: UUID, origin: Origin) -> AuditEntry:
    return AuditEntry(
        tenant_id=caller.tenant_id,
        user_id=caller.user_id,
        credential_id=caller.credential_id,
        action=action,
        target=f"key:{key_id}",
        outcome="done",
        address=origin.address,
        request_id=origin.request_id,
    )
