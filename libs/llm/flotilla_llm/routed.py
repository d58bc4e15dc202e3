"""The model client: per call, an ordered chain of routes until one answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import aiohttp
from flotilla_common.errors import FlotillaError, InvalidArgumentError
from prometheus_client import REGISTRY, CollectorRegistry

from flotilla_llm.attempts import Attempts
from flotilla_llm.fitting import Fitting
from flotilla_llm.lane import Lane
from flotilla_llm.metrics import RouteMetrics, metrics_in
from flotilla_llm.model import ChatReply, ChatRequest, EmbeddingReply, StreamPart
from flotilla_llm.openai_wire.connection import OpenAIConnection
from flotilla_llm.routes import Route, RouteTable

T = TypeVar("T")

_KEEPALIVE_S = 30
_READ_BUFFER_BYTES = 256 * 1024


class RoutedModels:
    """A ModelClient whose fallback belongs to the call: nothing one call meets changes another's order of routes."""

    def __init__(self, table: RouteTable, lanes: Mapping[str, Lane]) -> None:
        self._table = table
        self._lanes = lanes

    async def stream(self, request: ChatRequest, *, routes: Sequence[str]) -> AsyncGenerator[StreamPart, None]:
        """Yields the reply's parts; once one has left, a failure is the caller's to see, as nothing may be mixed."""
        attempts, fitting = self._attempts(routes), Fitting(request)
        async for lane in attempts:
            has_begun = False
            try:
                async with aclosing(lane.stream(fitting)) as parts:
                    async for part in parts:
                        has_begun = True
                        yield part
                return
            except FlotillaError as exc:
                if has_begun:
                    raise
                attempts.failed(exc)

    async def complete(self, request: ChatRequest, *, routes: Sequence[str]) -> ChatReply:
        """Returns the first whole reply."""
        fitting = Fitting(request)
        return await self._first(routes, lambda lane: lane.complete(fitting))

    async def embed(self, texts: Sequence[str], *, route: str) -> EmbeddingReply:
        """Returns the route's vectors."""
        return await self._first([route], lambda lane: lane.embed(texts))

    def route(self, name: str) -> Route:
        """Returns the route's data."""
        return self._table.get(name)

    async def _first(self, routes: Sequence[str], call: Callable[[Lane], Awaitable[T]]) -> T:
        attempts = self._attempts(routes)
        async for lane in attempts:
            try:
                return await call(lane)
            except FlotillaError as exc:
                attempts.failed(exc)
        raise AssertionError("attempts end by raising")

    def _attempts(self, routes: Sequence[str]) -> Attempts[Lane]:
        if not routes:
            raise InvalidArgumentError("A model call needs at least one route.", reason="model_route_unknown")
        for name in routes:
            self._table.get(name)
        return Attempts([self._lanes[name] for name in routes])


@asynccontextmanager
async def open_models(table: RouteTable, *, registry: CollectorRegistry = REGISTRY) -> AsyncIterator[RoutedModels]:
    """Opens one pool of connections for all routes; connects to nothing yet."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=300)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_READ_BUFFER_BYTES,
        headers={"User-Agent": "flotilla"},
    ) as session:
        metrics = metrics_in(registry)
        lanes = {
            name: Lane(OpenAIConnection(session, name, route), RouteMetrics(metrics, name))
            for name, route in table.routes.items()
        }
        yield RoutedModels(table, lanes)
