"""Embeddings through the model layer, under a deadline of our own."""

from __future__ import annotations

import asyncio

from flotilla_common.errors import FlotillaError, UnavailableError
from flotilla_llm import ModelClient

from flotilla_memory.model import Embedding


class Embedder:
    """Places one text among the others."""

    def __init__(self, models: ModelClient, *, route: str, longest_text: int) -> None:
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
