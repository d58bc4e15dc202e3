"""Calls one route over HTTP: one attempt, no policy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import aiohttp
import orjson

from flotilla_llm.failures import failure
from flotilla_llm.model import ChatReply, ChatRequest, EmbeddingReply, StreamPart
from flotilla_llm.openai_wire.payload import chat_body, embedding_body
from flotilla_llm.openai_wire.problems import map_shape_errors, map_transport_errors, raise_for_status
from flotilla_llm.openai_wire.reply import StreamReader, read_embeddings, read_reply
from flotilla_llm.openai_wire.sse import EventParser
from flotilla_llm.openai_wire.watchdog import Watchdog
from flotilla_llm.routes import Route

_KEY_LIFE_S = 60
_LAST_CHUNK_S = 0.05
_LARGEST_REPLY_BYTES = 64 * 1024 * 1024
_log = logging.getLogger(__name__)


class OpenAIConnection:
    """Speaks the OpenAI wire with one route's provider over a session that all routes share."""

    def __init__(self, session: aiohttp.ClientSession, name: str, route: Route) -> None:
        self.name = name
        self.route = route
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=None, connect=route.timeouts.connect_s)
        self._headers: dict[str, str] = {}
        self._headers_expire_at = float("-inf")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamPart, None]:
        """Yields one attempt's parts; closing the iterator closes the connection, which stops the provider."""
        started_at = asyncio.get_running_loop().time()
        timeouts = self.route.timeouts
        body = chat_body(self.route, request, stream=True)
        with map_transport_errors():
            head_by = started_at + min(timeouts.first_token_s, timeouts.total_s)
            async with self._post("/chat/completions", body, head_by) as response:
                with Watchdog(response, timeouts, started_at) as watchdog:
                    reader = StreamReader()
                    async with aclosing(_read_parts(response, reader, watchdog)) as batches:
                        async for batch in batches:
                            for part in batch:
                                yield part
                if not reader.is_complete:
                    raise failure("model_stream_broken", "The model's stream ended before the reply did.")
                yield reader.end(self.name, self.route, request)
                await _read_last_chunk(response)

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Returns one attempt's whole reply."""
        body = chat_body(self.route, request, stream=False)
        reply = await self._fetch("/chat/completions", body)
        with map_shape_errors():
            return read_reply(orjson.loads(reply), self.name, self.route, request)

    async def embed(self, texts: Sequence[str]) -> EmbeddingReply:
        """Returns one attempt's vectors."""
        reply = await self._fetch("/embeddings", embedding_body(self.route, texts))
        with map_shape_errors():
            return read_embeddings(orjson.loads(reply), self.route, texts)

    async def _fetch(self, path: str, body: bytes) -> bytes:
        until = asyncio.get_running_loop().time() + self.route.timeouts.total_s
        with map_transport_errors():
            async with self._post(path, body, until) as response:
                return await _read_whole(response, until)

    @asynccontextmanager
    async def _post(self, path: str, body: bytes, head_by: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the response once its head says that there is a reply, or raises what else it says, by that time."""
        async with asyncio.timeout_at(head_by):
            response = await self._session.post(
                self.route.base_url + path,
                data=body,
                params=self.route.query or None,
                headers=self._current_headers(),
                timeout=self._timeout,
                # A redirect would carry the key to a host that nobody configured.
                allow_redirects=False,
            )
        try:
            await raise_for_status(response, head_by)
            yield response
        finally:
            # A connection that still owes bytes is closed by this, others go back to the pool.
            response.close() if not response.content.at_eof() else response.release()

    def _current_headers(self) -> dict[str, str]:
        now = asyncio.get_running_loop().time()
        if now >= self._headers_expire_at:
            self._headers = _headers(self.route, _read_key(self.name, self.route))
            self._headers_expire_at = now + _KEY_LIFE_S
        return self._headers


async def _read_parts(
    response: aiohttp.ClientResponse, reader: StreamReader, watchdog: Watchdog
) -> AsyncGenerator[list[StreamPart], None]:
    parser = EventParser()
    while not reader.is_done:
        chunk = await response.content.readany()
        with map_shape_errors():
            parts = reader.read(parser.feed(chunk) if chunk else parser.finish())
        if reader.is_alive:
            watchdog.heard()
        if parts:
            yield parts
        if not chunk:
            return


async def _read_whole(response: aiohttp.ClientResponse, until: float) -> bytes:
    if response.content.is_eof():
        # A short reply mostly came with its head: nothing is left to wait for.
        return response.content.read_nowait()
    blocks, size = [], 0
    async with asyncio.timeout_at(until):
        while block := await response.content.readany():
            blocks.append(block)
            size += len(block)
            if size > _LARGEST_REPLY_BYTES:
                raise failure("model_bad_reply", "The model provider's reply is too large.")
    return b"".join(blocks)


async def _read_last_chunk(response: aiohttp.ClientResponse) -> None:
    """Waits a moment for the end of the body, which lets the connection be used again."""
    if response.content.at_eof():
        return
    try:
        async with asyncio.timeout(_LAST_CHUNK_S):
            await response.content.read()
    except (TimeoutError, aiohttp.ClientError):
        # The reply is whole; only the connection is lost.
        return


def _read_key(name: str, route: Route) -> str | None:
    try:
        return route.read_api_key()
    except (OSError, ValueError) as exc:
        # Callers may not learn where keys are kept; whoever runs the platform has to.
        _log.error("a route's API key cannot be read", extra={"route": name, "error": str(exc)})
        raise failure(
            "model_credentials_refused", "The platform's credentials for the model provider cannot be read."
        ) from exc


def _headers(route: Route, key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", **route.headers}
    if key is not None:
        is_bearer = route.api_key_header.lower() == "authorization"
        headers[route.api_key_header] = f"Bearer {key}" if is_bearer else key
    return headers
