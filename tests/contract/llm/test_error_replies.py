"""The client against providers whose replies, errors above all, never end or are endless."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from contract.llm.provider import Handler, provider
from flotilla_common.errors import FlotillaError
from flotilla_llm import ChatRequest, ModelClient, ReplyEnd
from flotilla_llm.openai_wire import problems
from flotilla_llm.routes import Retry, Timeouts
from prometheus_client import CollectorRegistry

OpenClient = Callable[..., Any]

HELLO = ChatRequest(messages=[{"role": "user", "content": "count from 1 to 3"}])
ONCE = Retry(attempts=1)
MEBIBYTE = b" " * 1024 * 1024


def stalling(status: int, body: bytes = b"", **headers: str) -> Handler:
    """Returns a handler that sends a head and what it has of a body, and then nothing more."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(body)
        await asyncio.Event().wait()
        return response

    return answer


def endless(status: int, sent: list[int]) -> Handler:
    """Returns a handler that sends as long as it is listened to, and notes how much."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while True:
            await response.write(MEBIBYTE)
            sent.append(len(MEBIBYTE))

    return answer


async def stream(models: ModelClient, *routes: str) -> None:
    async for _ in models.stream(HELLO, routes=routes or ["default"]):
        pass


async def complete(models: ModelClient) -> None:
    await models.complete(HELLO, routes=["default"])


async def embed(models: ModelClient) -> None:
    await models.embed(["tea"], route="default")


async def failure_of(call: Awaitable[None], *, within_s: float = 5) -> FlotillaError:
    async with asyncio.timeout(within_s):
        with pytest.raises(FlotillaError) as caught:
            await call
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"", "model_unavailable"),
        (429, b'{"error": {"mess', "model_rate_limited"),
        (429, b'{"error": {"code": "insufficient_quota"}}', "model_quota_spent"),
        (401, b"", "model_credentials_refused"),
    ],
)
@pytest.mark.parametrize("ask", [stream, complete, embed])
async def test_error_whose_body_stalls_is_classed_by_what_came(
    open_client: OpenClient, ask: Callable[[ModelClient], Awaitable[None]], status: int, body: bytes, reason: str
) -> None:
    timeouts = Timeouts(first_token_s=0.2, total_s=0.4)
    async with provider(stalling(status, body, **{"Retry-After": "60"})) as base_url:
        models = await open_client(default={"base_url": base_url, "retry": ONCE, "timeouts": timeouts})

        error = await failure_of(ask(models))

    assert error.reason == reason


async def test_error_whose_body_stalls_does_not_wait_for_the_whole_first_token_timeout(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_ERROR_BODY_S", 0.2)
    async with provider(stalling(503)) as base_url:
        models = await open_client(default={"base_url": base_url, "retry": ONCE})

        error = await failure_of(stream(models))

    assert error.reason == "model_unavailable"


async def test_error_whose_body_stalls_frees_its_place_and_falls_back(
    open_client: OpenClient, registry: CollectorRegistry
) -> None:
    async with provider(stalling(500)) as base_url:
        models = await open_client(
            stuck={
                "base_url": base_url,
                "retry": ONCE,
                "max_concurrency": 1,
                "timeouts": Timeouts(first_token_s=0.2, queue_s=0.05),
            },
            steady={},
        )

        async with asyncio.timeout(5):
            await stream(models, "stuck", "steady")
        error = await failure_of(stream(models, "stuck"))

    assert error.reason == "model_unavailable"
    assert registry.get_sample_value("flotilla_model_calls_in_flight", {"route": "stuck"}) == 0


async def test_error_whose_body_breaks_off_is_classed_by_its_status(open_client: OpenClient) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=429, headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"error": ')
        assert request.transport is not None
        request.transport.close()
        return response

    async with provider(answer) as base_url:
        models = await open_client(default={"base_url": base_url, "retry": ONCE})

        error = await failure_of(stream(models))

    assert error.reason == "model_rate_limited"


@pytest.mark.parametrize("ask", [stream, complete, embed])
async def test_endless_error_is_read_only_at_its_beginning(
    open_client: OpenClient, ask: Callable[[ModelClient], Awaitable[None]]
) -> None:
    sent: list[int] = []
    async with provider(endless(500, sent)) as base_url:
        models = await open_client(default={"base_url": base_url, "retry": ONCE})

        error = await failure_of(ask(models))

    assert error.reason == "model_unavailable"
    # What the kernel and aiohttp buffer is sent before it is refused.
    assert sum(sent) < 32 * len(MEBIBYTE)


@pytest.mark.parametrize("ask", [complete, embed])
async def test_endless_reply_is_a_bad_reply(
    open_client: OpenClient, ask: Callable[[ModelClient], Awaitable[None]]
) -> None:
    sent: list[int] = []
    async with provider(endless(200, sent)) as base_url:
        models = await open_client(default={"base_url": base_url, "retry": ONCE})

        error = await failure_of(ask(models), within_s=20)

    assert error.reason == "model_bad_reply"
    assert sum(sent) < 128 * len(MEBIBYTE)


async def test_large_reply_is_read_whole(open_client: OpenClient) -> None:
    text = "word " * 400_000

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps({"choices": [{"message": {"content": text}}], "usage": {}}))

    async with provider(answer) as base_url:
        models = await open_client(default={"base_url": base_url})

        reply = await models.complete(HELLO, routes=["default"])

    assert reply.content == text


async def test_head_that_is_late_ends_by_the_total_when_that_is_sooner(open_client: OpenClient) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with provider(answer) as base_url:
        models = await open_client(default={"base_url": base_url, "timeouts": Timeouts(total_s=0.2)})
        began = time.monotonic()

        error = await failure_of(stream(models))

    assert error.reason == "model_timeout"
    assert time.monotonic() - began < 5


async def test_connection_that_breaks_after_a_whole_reply_breaks_nothing(open_client: OpenClient) -> None:
    chunk = orjson.dumps({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]})

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: " + chunk + b"\n\ndata: [DONE]\n\n")
        await asyncio.sleep(0.01)
        assert request.transport is not None
        request.transport.abort()
        return response

    async with provider(answer) as base_url:
        models = await open_client(default={"base_url": base_url, "retry": ONCE})

        parts = [part async for part in models.stream(HELLO, routes=["default"])]

    assert isinstance(parts[-1], ReplyEnd)
