"""The development model's HTTP edge: the OpenAI wire, health and what it did."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from aiohttp import web

from flotilla_llm.development.behaviour import Behaviour, Fault
from flotilla_llm.development.call import BadRequest, ChatCall, read_call
from flotilla_llm.development.delivery import Delivery, Stats
from flotilla_llm.development.embedding import DIMENSIONS, as_base64, embed
from flotilla_llm.development.frames import ChunkFrames, whole_reply
from flotilla_llm.development.generation import Generation, Generator
from flotilla_llm.development.script import Script
from flotilla_llm.settings import DEVELOPMENT_EMBEDDING_MODEL, DEVELOPMENT_MODEL
from flotilla_llm.tokens import count_text

HEADERS = {"x-flotilla-development-model": "true"}
_STREAM_HEADERS = {**HEADERS, "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_JSON_HEADERS = {**HEADERS, "Content-Type": "application/json"}
_MAX_BODY_BYTES = 32 * 1024 * 1024
_MAX_TEXTS = 2048


class DevelopmentModel:
    """Serves the OpenAI wire from a Generator."""

    def __init__(self, generator: Generator) -> None:
        self.stats = Stats()
        self._generator = generator

    def app(self) -> web.Application:
        """Returns the routes; paths work with and without `/v1`."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        for prefix in ("/v1", ""):
            app.router.add_get(prefix + "/models", self.list_models)
            app.router.add_post(prefix + "/chat/completions", self.chat)
            app.router.add_post(prefix + "/embeddings", self.embeddings)
        app.router.add_get("/health", self.health)
        app.router.add_get("/dev/stats", self.show_stats)
        return app

    async def health(self, request: web.Request) -> web.Response:
        """Answers when the server is up."""
        return _json({"status": "ok"})

    async def show_stats(self, request: web.Request) -> web.Response:
        """Returns what the server did."""
        return _json(asdict(self.stats))

    async def list_models(self, request: web.Request) -> web.Response:
        """Lists the two models."""
        names = (DEVELOPMENT_MODEL, DEVELOPMENT_EMBEDDING_MODEL)
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "flotilla"} for name in names]
        return _json({"object": "list", "data": models})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answers a chat request, and counts when its client leaves before the end."""
        stats = self.stats
        stats.requests += 1
        stats.active += 1
        try:
            response = await self._chat(request)
        except (asyncio.CancelledError, ConnectionResetError):
            stats.cancelled += 1
            raise
        except BadRequest as exc:
            return _error(400, exc.message, "invalid_request_error", param=exc.field)
        finally:
            stats.active -= 1
        stats.completed += 1
        return response

    async def embeddings(self, request: web.Request) -> web.Response:
        """Returns one vector a text."""
        try:
            body = _read_json(await request.read())
            texts = _read_texts(body)
        except BadRequest as exc:
            return _error(400, exc.message, "invalid_request_error", param=exc.field)
        is_base64 = body.get("encoding_format") == "base64"
        vectors = [embed(text, body.get("dimensions") or DIMENSIONS) for text in texts]
        data = [
            {"object": "embedding", "index": at, "embedding": as_base64(vector) if is_base64 else vector}
            for at, vector in enumerate(vectors)
        ]
        tokens = sum(map(count_text, texts))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json({"object": "list", "model": body.get("model"), "data": data, "usage": usage})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        call = read_call(_read_json(await request.read()))
        if not call.model.startswith(DEVELOPMENT_MODEL):
            return _error(404, f"The model {call.model!r} does not exist.", "invalid_request_error", "model_not_found")
        made = self._generator.generate(call)
        fault = made.behaviour.fault
        self.stats.faults += fault is not None
        if fault is not None and fault.kind == "status":
            return _failed(fault)
        return await self._deliver(request, call, made)

    async def _deliver(self, request: web.Request, call: ChatCall, made: Generation) -> web.StreamResponse:
        reply_id, created = "chatcmpl-" + secrets.token_hex(12), int(time.time())
        delivery = Delivery(request, made.behaviour, self.stats)
        if call.streams:
            response = web.StreamResponse(headers=_STREAM_HEADERS)
            usage = made.counts if call.includes_usage else None
            await delivery.stream(response, ChunkFrames(reply_id, created, call.model), made.reply, usage)
            return response
        response = web.StreamResponse(headers=_JSON_HEADERS)
        body = whole_reply(reply_id, created, call.model, made.reply, made.counts)
        await delivery.whole(response, body, made.counts.written)
        return response


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A development model that listens."""

    base_url: str
    """With `/v1`."""
    stats: Stats


@asynccontextmanager
async def running_model(
    *, host: str = "127.0.0.1", port: int = 0, script: Script | None = None, behaviour: Behaviour | None = None
) -> AsyncIterator[RunningModel]:
    """Serves until left; port 0 takes a free one."""
    model = DevelopmentModel(Generator(script or Script(), behaviour or Behaviour()))
    # Cancelling the handler is what stops a reply the moment that its client is gone.
    runner = web.AppRunner(model.app(), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        yield RunningModel(f"http://{bound[0]}:{bound[1]}/v1", model.stats)
    finally:
        await runner.cleanup()


def _read_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadRequest("The body is not JSON.", "body") from exc


def _read_texts(body: Any) -> Sequence[str]:
    texts = body.get("input") if isinstance(body, dict) else None
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or len(texts) > _MAX_TEXTS:
        raise BadRequest(f"'input' must be a text or a list of 1 to {_MAX_TEXTS} texts.", "input")
    # LangChain sends token ids instead of text; the same ids still give the same vector.
    return [text if isinstance(text, str) else " ".join(map(str, text)) for text in texts]


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, headers=_JSON_HEADERS)


def _error(status: int, message: str, kind: str, code: str | None = None, param: str | None = None) -> web.Response:
    return _json({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def _failed(fault: Fault) -> web.Response:
    if fault.status == 429:
        response = _error(429, "Scripted rate limit.", "rate_limit_error", "rate_limit_exceeded")
    else:
        response = _error(fault.status, f"Scripted failure {fault.status}.", "server_error")
    if fault.retry_after_s is not None:
        response.headers["Retry-After"] = f"{fault.retry_after_s:g}"
    return response
