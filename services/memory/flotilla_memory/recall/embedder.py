"""Embeddings through the model layer, under a deadline of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from flotilla_common.errors import FlotillaError, InvalidArgumentError, PermissionDeniedError, UnavailableError
from flotilla_llm import EmbeddingReply

from flotilla_memory.grouping import Grouping
from flotilla_memory.model import Embedding

_AT_ONCE, _LARGEST = 2, 64
"""Model calls under way, and texts in one; providers take hundreds of texts at once."""


class EmbeddingModels(Protocol):
    """The one call of the model layer that memory makes."""

    async def embed(self, texts: Sequence[str], *, route: str) -> EmbeddingReply:
        """Returns one vector for each text. Raises FlotillaError."""
        ...


class Embedder:
    """Places one text among the others."""

    def __init__(self, models: EmbeddingModels, *, route: str, longest_text: int) -> None:
        self._models = models
        self._route = route
        self._longest_text = longest_text
        self._texts = Grouping(self._embed_all, at_once=_AT_ONCE, largest=_LARGEST, is_common=_is_common)

    async def embed(self, text: str, *, timeout_s: float) -> Embedding:
        """Returns the embedding of a text's beginning; texts that come while others are embedded share a model call.

        Raises UnavailableError (reason embedding_unavailable) whatever kept the model from answering in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._texts.submit(text[: self._longest_text])
        except (FlotillaError, TimeoutError) as error:
            raise UnavailableError("Embeddings cannot be made now.", reason="embedding_unavailable") from error

    async def _embed_all(self, texts: Sequence[str]) -> Sequence[Embedding]:
        reply = await self._models.embed(texts, route=self._route)
        return [Embedding(model=reply.model, vector=vector) for vector in reply.vectors]


def _is_common(error: Exception) -> bool:
    """Only a text that the model refuses is one text's own fault."""
    return not isinstance(error, InvalidArgumentError | PermissionDeniedError)
