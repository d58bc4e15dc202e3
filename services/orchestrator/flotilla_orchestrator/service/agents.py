"""Agents as callers see them, and the platform's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flotilla_common.errors import InvalidArgumentError, NotFoundError
from flotilla_llm.client import ModelClient
from flotilla_llm.model import EmbeddingReply

from flotilla_orchestrator.clients.tool import ToolSpec
from flotilla_orchestrator.graphs.catalogue import AgentCatalogue, Release
from flotilla_orchestrator.runs.execution.toolbox import ToolDirectory

MOST_TEXTS = 256


@dataclass(frozen=True, slots=True)
class AgentView:
    """An agent with the tools that its model sees."""

    release: Release
    tools: Sequence[ToolSpec]


class AgentService:
    """Lists agents and makes embeddings."""

    def __init__(
        self, catalogue: AgentCatalogue, directory: ToolDirectory, models: ModelClient, *, embedding_route: str
    ) -> None:
        self._catalogue = catalogue
        self._directory = directory
        self._models = models
        self._embedding_route = embedding_route

    async def list(self) -> Sequence[AgentView]:
        """Returns all agents, ordered by name."""
        releases = self._catalogue.list_active()
        names = sorted({name for release in releases for name in release.tools})
        tools = await self._directory.definitions(names, with_memory=True)
        return [AgentView(release, [tool for tool in tools if tool.name in release.tools]) for release in releases]

    async def get(self, name: str) -> AgentView:
        """Returns one agent. Raises NotFoundError."""
        return await self._view(await self._catalogue.resolve(name))

    async def embed(self, texts: Sequence[str], *, model: str) -> EmbeddingReply:
        """Returns a vector a text. Raises NotFoundError for another model than the route's, and UnavailableError."""
        if not 1 <= len(texts) <= MOST_TEXTS:
            raise InvalidArgumentError(f"1 to {MOST_TEXTS} texts are needed.", reason="invalid_value", field="input")
        for index, text in enumerate(texts):
            if not text:
                raise InvalidArgumentError("A text is empty.", reason="invalid_value", field=f"input[{index}]")
        route = self._models.route(self._embedding_route)
        if model not in ("", self._embedding_route, route.model):
            raise NotFoundError(f"There is no embedding model '{model}'.", reason="model_not_found", field="model")
        return await self._models.embed(texts, route=self._embedding_route)

    async def _view(self, release: Release) -> AgentView:
        return AgentView(release, await self._directory.definitions(release.tools, with_memory=True))
