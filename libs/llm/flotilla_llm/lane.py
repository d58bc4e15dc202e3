"""One route under its limits: places, breaker, metrics and a span around every attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from flotilla_common.errors import FlotillaError

from flotilla_llm.attempt import Attempt, Operation, span_attributes
from flotilla_llm.breaker import CircuitBreaker
from flotilla_llm.failures import failure
from flotilla_llm.fitting import Fitting
from flotilla_llm.metrics import RouteMetrics
from flotilla_llm.model import ChatReply, EmbeddingReply, ReplyEnd, StreamPart
from flotilla_llm.openai_wire.connection import OpenAIConnection
from flotilla_llm.routes import Route


class Lane:
    """Calls one route with what fits its window, at most `max_concurrency` at a time, not while its breaker is open."""

    def __init__(self, connection: OpenAIConnection, metrics: RouteMetrics) -> None:
        self.route: Route = connection.route
        self._connection = connection
        self._metrics = metrics
        self._places = asyncio.Semaphore(connection.route.max_concurrency)
        self._breaker = CircuitBreaker(connection.name, connection.route.breaker, asyncio.get_running_loop().time)
        self._attributes = {
            operation: span_attributes(connection.name, connection.route, operation)
            for operation in ("chat", "embeddings")
        }

    def repeated(self) -> None:
        """Counts a retry."""
        self._metrics.retries.inc()

    def left(self) -> None:
        """Counts a fallback."""
        self._metrics.fallbacks.inc()

    async def stream(self, request: Fitting) -> AsyncGenerator[StreamPart, None]:
        """Yields one attempt's parts."""
        async with self._place():
            with self._attempt("chat") as attempt:
                fitted = await request.to(self.route.context_window)
                async with aclosing(self._connection.stream(fitted)) as parts:
                    async for part in parts:
                        if isinstance(part, ReplyEnd):
                            attempt.ended(part.usage, part.finish_reason)
                        elif not attempt.has_begun:
                            attempt.begun()
                        yield part

    async def complete(self, request: Fitting) -> ChatReply:
        """Returns one attempt's reply."""
        async with self._place():
            with self._attempt("chat") as attempt:
                reply = await self._connection.complete(await request.to(self.route.context_window))
                attempt.ended(reply.usage, reply.finish_reason)
                return reply

    async def embed(self, texts: Sequence[str]) -> EmbeddingReply:
        """Returns one attempt's vectors."""
        async with self._place():
            with self._attempt("embeddings") as attempt:
                reply = await self._connection.embed(texts)
                attempt.ended(reply.usage)
                return reply

    def _attempt(self, operation: Operation) -> Attempt:
        try:
            self._breaker.enter()
        except FlotillaError:
            self._metrics.errors["model_circuit_open"].inc()
            raise
        return Attempt(operation, self._metrics, self._breaker, self._attributes[operation])

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        await self._take_place()
        try:
            yield
        finally:
            self._places.release()

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(self.route.timeouts.queue_s):
                await self._places.acquire()
        except TimeoutError as exc:
            self._metrics.errors["model_saturated"].inc()
            raise failure("model_saturated", "Every place at the model is taken.", retry_after_s=1) from exc
