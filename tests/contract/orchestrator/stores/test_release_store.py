"""The conformance suite of ReleaseStore."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import uuid4

import pytest
from fakes.run_stores import Stores
from flotilla_orchestrator.stores.release_store import StoredRelease

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def release(agent: str, content: str = "{}", *, created_at: datetime = THEN) -> StoredRelease:
    return StoredRelease(agent, sha256((agent + content).encode()).hexdigest(), content, created_at)


@pytest.fixture
def name() -> str:
    return f"agent-{uuid4()}"


async def test_release_is_found_by_the_beginning_of_its_hash(stores: Stores, name: str) -> None:
    kept = release(name, '{"prompt": "Be kind: \\u00fc, \\u0000"}')

    await stores.releases.add([kept, release(f"{name}-other")])

    assert await stores.releases.find(name, kept.hash) == kept
    assert await stores.releases.find(name, kept.hash[:8]) == kept
    assert await stores.releases.find(name, "f" * 64) is None
    assert await stores.releases.find(name, "%") is None
    assert await stores.releases.find("nobody", kept.hash) is None


async def test_release_is_as_old_as_whoever_kept_it_first_says(stores: Stores, name: str) -> None:
    first, second = release(name), release(name, created_at=THEN + timedelta(hours=1))
    new = release(name, '{"new": true}', created_at=THEN + timedelta(hours=2))

    assert await stores.releases.add([first]) == {first.hash: THEN}
    assert await stores.releases.add([second, new]) == {first.hash: THEN, new.hash: new.created_at}


async def test_beginning_that_two_releases_share_finds_neither(stores: Stores, name: str) -> None:
    await stores.releases.add([release(name), release(name, '{"new": true}')])

    assert await stores.releases.find(name, "") is None


async def test_no_releases_are_kept_without_a_word(stores: Stores) -> None:
    assert await stores.releases.add([]) == {}
