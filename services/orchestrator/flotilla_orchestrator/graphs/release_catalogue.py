"""The agents of this process: its files' releases are active, earlier ones are made of what the store kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from flotilla_common.errors import NotFoundError

from flotilla_orchestrator.graphs.catalogue import CompiledGraph, Release
from flotilla_orchestrator.graphs.file_catalogue import SHORTEST_HASH, FileCatalogue
from flotilla_orchestrator.graphs.stored import restore
from flotilla_orchestrator.stores.release_store import ReleaseStore, StoredRelease

_RELEASE = re.compile(rf"([a-z][a-z0-9-]{{0,62}})@([0-9a-fA-F]{{{SHORTEST_HASH},64}})")
"""An agent's name and the first digits of a hash: nothing else is worth a question to the store."""


class ReleaseCatalogue:
    """Implements AgentCatalogue."""

    def __init__(self, files: FileCatalogue, store: ReleaseStore) -> None:
        self._files = files
        self._store = store

    async def record(self) -> None:
        """Keeps the files' releases for every process, this one's successors among them."""
        agents = self._files.agents
        releases = [
            StoredRelease(agent.spec.name, agent.hash, agent.content, datetime.fromtimestamp(agent.modified_at, UTC))
            for agent in agents
        ]
        self._files.date(await self._store.add(releases))

    def list_active(self) -> Sequence[Release]:
        """Returns the active release of every agent, ordered by name."""
        return self._files.list_active()

    async def resolve(self, agent: str) -> Release:
        """Returns the release that "name" or "name@hash" means; a hash may be cut to 8 digits.

        Raises NotFoundError, and UnavailableError when only the store could tell.
        """
        try:
            return self._files.resolve(agent)
        except NotFoundError:
            named = _RELEASE.fullmatch(agent)
            if named is None:
                raise
            stored = await self._store.find(named[1], named[2].lower())
            if stored is None:
                raise
        return self._files.admit(restore(stored, folder=self._files.folder))

    def graph(self, release: Release) -> CompiledGraph:
        """Returns the release's graph, compiled the first time it is asked for. Raises NotFoundError."""
        return self._files.graph(release)
