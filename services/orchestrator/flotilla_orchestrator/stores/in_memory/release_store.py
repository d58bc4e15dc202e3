"""Releases in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from flotilla_orchestrator.stores.release_store import StoredRelease


class InMemoryReleaseStore:
    """Implements ReleaseStore."""

    def __init__(self) -> None:
        self._releases: dict[str, StoredRelease] = {}

    async def add(self, releases: Sequence[StoredRelease]) -> Mapping[str, datetime]:
        """Keeps the releases that are not there yet; returns when each one was made."""
        return {release.hash: self._releases.setdefault(release.hash, release).created_at for release in releases}

    async def find(self, agent: str, hash_prefix: str) -> StoredRelease | None:
        """Returns the agent's release whose hash begins so."""
        found = [one for one in self._releases.values() if one.agent == agent and one.hash.startswith(hash_prefix)]
        return found[0] if len(found) == 1 else None
