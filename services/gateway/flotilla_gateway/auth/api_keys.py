"""API keys as credentials, remembered for a moment so that a busy key costs no query."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from flotilla_common.errors import UnauthenticatedError

from flotilla_gateway.auth.credentials import KeyHasher, is_plausible, matching_key, prefix_of
from flotilla_gateway.model import ApiKey, AuditEntry, Origin, Principal
from flotilla_gateway.stores.audit import AuditLog
from flotilla_gateway.stores.keys import KeyStore

logger = logging.getLogger(__name__)

MOST_REMEMBERED = 20_000
Remembered = TypeVar("Remembered")


class ApiKeyAuthenticator:
    """Proves API keys. A verdict is remembered `cache_s` seconds: so long may a revoked key live on another replica."""

    def __init__(
        self,
        store: KeyStore,
        hasher: KeyHasher,
        audit: AuditLog,
        *,
        cache_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._audit = audit
        self._cache_s = cache_s
        self._clock = clock
        self._known: dict[bytes, tuple[float, ApiKey]] = {}
        self._refused: dict[bytes, float] = {}
        """Apart from the known ones, so that whoever tries keys pushes out nobody's."""
        self._lookups: dict[bytes, asyncio.Task[ApiKey | None]] = {}

    async def authenticate(self, credential: str, origin: Origin) -> Principal:
        """Returns the key's owner. Raises UnauthenticatedError for a key that is unknown, expired or revoked."""
        if not is_plausible(credential):
            raise _refused()
        key_hash = self._hasher.hash(credential)
        now = self._clock()
        known = self._known.get(key_hash)
        if known is not None and known[0] > now:
            return _principal(known[1])
        if self._refused.get(key_hash, now) > now:
            raise _refused()
        return _principal(await self._look_up(key_hash, credential, origin))

    def forget(self) -> None:
        """Forgets all verdicts, so that a revocation on this replica works at once."""
        self._known.clear()
        self._refused.clear()

    async def _look_up(self, key_hash: bytes, credential: str, origin: Origin) -> ApiKey | None:
        # One query for all that wait for the same key; one of them going away must not end it for the rest.
        lookup = self._lookups.get(key_hash)
        if lookup is None:
            lookup = asyncio.create_task(self._find(key_hash, credential, origin))
            self._lookups[key_hash] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(key_hash, None))
        return await asyncio.shield(lookup)

    async def _find(self, key_hash: bytes, credential: str, origin: Origin) -> ApiKey | None:
        found = matching_key(await self._store.find(prefix_of(credential)), key_hash)
        key = found.key if found else None
        refusal = key.refusal_at(datetime.now(UTC)) if key else "unknown"
        if key and refusal:
            await self._audit.append(_denied(key, refusal, origin))
        if refusal:
            logger.info("API key refused", extra={"reason": refusal, "address": origin.address})
        until = self._clock() + self._cache_s
        if key is None or refusal:
            _put(self._refused, key_hash, until)
            return None
        _put(self._known, key_hash, (until, key))
        return key


def _put(remembered: dict[bytes, Remembered], key_hash: bytes, what: Remembered) -> None:
    """Remembers something in place of what was remembered longest ago when there is too much."""
    remembered.pop(key_hash, None)
    if len(remembered) >= MOST_REMEMBERED:
        del remembered[next(iter(remembered))]
    remembered[key_hash] = what


def _principal(key: ApiKey | None) -> Principal:
    if key is None or key.refusal_at(datetime.now(UTC)):
        raise _refused()
    return Principal(
        tenant_id=key.tenant_id,
        user_id=key.user_id,
        credential_id=key.key_id,
        scopes=key.scopes,
        requests_per_minute=key.requests_per_minute,
    )


def _refused() -> UnauthenticatedError:
    return UnauthenticatedError("Incorrect API key provided.", reason="invalid_api_key")


def _denied(key: ApiKey, reason: str, origin: Origin) -> AuditEntry:
    return AuditEntry(
        tenant_id=key.tenant_id,
        user_id=key.user_id,
        credential_id=key.key_id,
        action="authenticate",
        target=f"key:{key.key_id}",
        outcome="denied",
        reason=reason,
        address=origin.address,
        request_id=origin.request_id,
    )
