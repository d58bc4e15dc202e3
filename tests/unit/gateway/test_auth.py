"""API keys: minted, proven, remembered for a moment; and whom they may speak for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from flotilla_common.errors import UnauthenticatedError, UnavailableError
from flotilla_common.ids import new_id
from flotilla_gateway.auth import api_keys
from flotilla_gateway.auth.api_keys import ApiKeyAuthenticator
from flotilla_gateway.auth.credentials import PREFIX_LENGTH, KeyHasher, is_plausible, mint_key, prefix_of
from flotilla_gateway.model import ApiKey, AuditEntry, Origin, Principal, Scope, StoredKey
from flotilla_gateway.stores.audit import InMemoryAuditLog
from flotilla_gateway.stores.keys import InMemoryKeyStore

HASHER = KeyHasher(b"p" * 32)
ORIGIN = Origin("::1", "r-1")


class CountingStore(InMemoryKeyStore):
    """Counts look-ups; `is_away` makes them fail."""

    def __init__(self) -> None:
        self.audit = InMemoryAuditLog()
        super().__init__(self.audit)
        self.finds = 0
        self.is_away = False

    async def find(self, prefix: str) -> Sequence[StoredKey]:
        self.finds += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise UnavailableError("away")
        return await super().find(prefix)


async def add_key(store: CountingStore, **changes: object) -> tuple[str, ApiKey]:
    """Stores a key and returns its text."""
    text = mint_key()
    key = ApiKey(new_id(), new_id(), new_id(), "n", prefix_of(text), frozenset({Scope.CHAT}), datetime.now(UTC))
    key = replace(key, **changes)  # type: ignore[arg-type]  # fields as data
    entry = AuditEntry(key.tenant_id, key.user_id, None, "create_key", "k", "done")
    await store.put(StoredKey(key, HASHER.hash(text)), entry=entry)
    return text, key


def test_minted_keys_are_long_and_show_a_prefix_only() -> None:
    keys = {mint_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(key.startswith("fl_") and len(key) == 56 and is_plausible(key) for key in keys)
    assert all(len(prefix_of(key)) == PREFIX_LENGTH for key in keys)


def test_hash_depends_on_the_pepper_and_short_peppers_are_refused() -> None:
    assert KeyHasher(b"a" * 32).hash("k") != KeyHasher(b"b" * 32).hash("k")
    with pytest.raises(ValueError, match="32 bytes"):
        KeyHasher(b"short")


async def test_same_prefix_with_another_secret_is_refused() -> None:
    store = CountingStore()
    text, _ = await add_key(store)
    authenticator = ApiKeyAuthenticator(store, HASHER, store.audit)

    with pytest.raises(UnauthenticatedError):
        await authenticator.authenticate(text[:-1] + ("a" if text[-1] != "a" else "b"), ORIGIN)


async def test_many_wrong_keys_push_no_right_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MOST_REMEMBERED", 3)
    store = CountingStore()
    text, _ = await add_key(store)
    authenticator = ApiKeyAuthenticator(store, HASHER, store.audit)
    await authenticator.authenticate(text, ORIGIN)

    for _ in range(10):
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate(mint_key(), ORIGIN)
    finds = store.finds
    await authenticator.authenticate(text, ORIGIN)

    assert store.finds == finds


async def test_wrong_key_costs_one_lookup_a_while() -> None:
    store, now = CountingStore(), 0.0
    authenticator = ApiKeyAuthenticator(store, HASHER, store.audit, cache_s=2, clock=lambda: now)
    wrong = mint_key()

    for now in (0.0, 1.9, 2.1):  # noqa: B007 - the clock reads it
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate(wrong, ORIGIN)

    assert store.finds == 2


async def test_busy_key_costs_one_lookup_a_while() -> None:
    store, now = CountingStore(), 0.0
    text, key = await add_key(store)
    authenticator = ApiKeyAuthenticator(store, HASHER, store.audit, cache_s=2, clock=lambda: now)

    together = await asyncio.gather(*(authenticator.authenticate(text, ORIGIN) for _ in range(20)))
    now = 1.9
    await authenticator.authenticate(text, ORIGIN)
    assert store.finds == 1
    now = 2.1
    await authenticator.authenticate(text, ORIGIN)

    assert store.finds == 2
    assert {principal.credential_id for principal in together} == {key.key_id}


async def test_one_waiter_that_goes_away_ends_nothing_for_the_others() -> None:
    store = CountingStore()
    text, _ = await add_key(store)
    authenticator = ApiKeyAuthenticator(store, HASHER, store.audit)

    first = asyncio.create_task(authenticator.authenticate(text, ORIGIN))
    second = asyncio.create_task(authenticator.authenticate(text, ORIGIN))
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).scopes == {Scope.CHAT}


async def test_nobody_passes_while_nobody_can_tell() -> None:
    store = CountingStore()
    text, _ = await add_key(store)
    store.is_away = True
    authenticator = ApiKeyAuthenticator(store, HASHER, store.audit)

    with pytest.raises(UnavailableError):
        await authenticator.authenticate(text, ORIGIN)
    store.is_away = False

    assert await authenticator.authenticate(text, ORIGIN)


async def test_revoked_key_is_refused_and_the_attempt_recorded() -> None:
    store = CountingStore()
    text, key = await add_key(store, revoke_time=datetime.now(UTC))
    authenticator = ApiKeyAuthenticator(store, HASHER, store.audit)

    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate(text, ORIGIN)

    denied = [entry for entry in await store.audit.list(key.tenant_id) if entry.action == "authenticate"]
    assert [(entry.outcome, entry.reason, entry.address) for entry in denied] == [("denied", "revoked", "::1")]


async def test_key_that_expires_while_remembered_is_refused() -> None:
    store = CountingStore()
    text, key = await add_key(store, expire_time=datetime.now(UTC))

    with pytest.raises(UnauthenticatedError):
        await ApiKeyAuthenticator(store, HASHER, store.audit).authenticate(text, ORIGIN)

    assert key.refusal_at(datetime.now(UTC)) == "expired"


def principal(*scopes: Scope) -> Principal:
    """A caller with scopes."""
    return Principal(new_id(), new_id(), new_id(), frozenset(scopes))


def test_only_act_as_may_name_an_end_user() -> None:
    acting, plain = principal(Scope.CHAT, Scope.ACT_AS), principal(Scope.CHAT)

    assert acting.identity_for("ann") == acting.identity_for("ann")
    assert acting.identity_for("ann").user_id != acting.identity_for("bob").user_id
    assert acting.identity_for("ann").remembers
    assert plain.identity_for("ann") == plain.identity_for(None)
    assert plain.identity_for(None).remembers


def test_end_users_of_two_owners_never_meet() -> None:
    one, other = principal(Scope.ACT_AS), principal(Scope.ACT_AS)

    assert one.identity_for("ann").user_id != other.identity_for("ann").user_id


@pytest.mark.parametrize("name", [None, ""])
def test_acting_for_nobody_remembers_nothing(name: str | None) -> None:
    acting = principal(Scope.ACT_AS)

    assert not acting.identity_for(name).remembers
