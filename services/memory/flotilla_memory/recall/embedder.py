"""Embeddings through the model layer, under a deadline of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from flotilla_common.errors import FlotillaError, UnavailableError
from flotilla_llm import EmbeddingReply

from flotilla_memory.model import Embedding


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

    async def embed(self, text: str, *, timeout_s: float) -> Embedding:
        """Returns the embedding of a text's beginning; one model call.

        Raises UnavailableError (reason embedding_unavailable) whatever kept the model from answering in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._models.embed([text[: self._longest_text]], route=self._route)
        except (FlotillaError, TimeoutError) as error:
            raise UnavailableError("Embeddings cannot be made now.", reason="embedding_unavailable") from error
        return Embedding(model=reply.model, vector=reply.vectors[0])
