"""The client against what other servers make of the OpenAI wire."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from contract.llm.provider import provider
from flotilla_common.errors import FailedPreconditionError, UnavailableError
from flotilla_llm import ChatRequest, ReplyEnd, TextDelta, ToolCallDelta
from prometheus_client import CollectorRegistry

OpenClient = Callable[..., Any]

HELLO = ChatRequest(messages=[{"role": "user", "content": "Hello"}], max_output_tokens=9, temperature=0.5)


@asynccontextmanager
async def fixed_provider(body: bytes, seen: list[web.Request | dict[str, Any]], kind: str) -> AsyncIterator[str]:
    """A server that gives one fixed answer and keeps what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        seen.extend([request, orjson.loads(await request.read())])
        return web.Response(body=body, content_type=kind)

    async with provider(answer) as base_url:
        yield base_url


def events(*chunks: object, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + end


def delta(finish_reason: str | None = None, **fields: object) -> dict[str, object]:
    return {"model": "real-name", "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


async def streamed(open_client: OpenClient, body: bytes, **route: Any) -> list[Any]:
    async with fixed_provider(body, [], "text/event-stream") as base_url:
        models = await open_client(default={"base_url": base_url, **route})
        return [part async for part in models.stream(HELLO, routes=["default"])]


async def test_missing_usage_is_estimated_and_marked(open_client: OpenClient) -> None:
    parts = await streamed(open_client, events(delta(content="Hello "), delta("stop", content="there")))

    assert parts[0] == TextDelta("Hello there")
    assert isinstance(parts[-1], ReplyEnd)
    assert parts[-1].usage.is_estimated
    assert parts[-1].usage.model == "real-name"
    assert parts[-1].usage.input_tokens > 0
    assert parts[-1].usage.output_tokens > 0


async def test_carriage_returns_comments_and_reasoning_are_understood(open_client: OpenClient) -> None:
    body = b": OPENROUTER PROCESSING\n\n" + events(delta(reasoning_content="hm"), delta("stop", content="Hi"))

    parts = await streamed(open_client, body.replace(b"\n", b"\r\n"))

    assert parts[0] == TextDelta("Hi")


async def test_end_without_done_counts_when_there_is_a_finish_reason(open_client: OpenClient) -> None:
    parts = await streamed(open_client, events(delta("length", content="Hi"), end=b""))

    assert parts[-1].finish_reason == "length"


async def test_end_without_done_and_finish_reason_is_broken(open_client: OpenClient) -> None:
    with pytest.raises(UnavailableError) as caught:
        await streamed(open_client, events(delta(content="Hi"), end=b""))

    assert caught.value.reason == "model_stream_broken"


async def test_tool_calls_without_index_and_with_finish_reason_stop(open_client: OpenClient) -> None:
    first = {"id": "a", "function": {"name": "clock", "arguments": '{"z"'}}
    more = {"function": {"arguments": ":1}"}}
    second = {"id": "b", "function": {"name": "clock", "arguments": "{}"}}

    parts = await streamed(
        open_client, events(delta(tool_calls=[first]), delta(tool_calls=[more]), delta("stop", tool_calls=[second]))
    )

    assert [(part.index, part.arguments) for part in parts if isinstance(part, ToolCallDelta)] == [
        (0, '{"z"'),
        (0, ":1}"),
        (1, "{}"),
    ]
    assert parts[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize("error", [{"error": {"code": 502, "message": "x"}}, {"error": "overloaded"}])
async def test_error_event_is_a_classed_error(open_client: OpenClient, error: object) -> None:
    with pytest.raises(UnavailableError):
        await streamed(open_client, events(error))


@pytest.mark.parametrize("chunk", [[], 7, {"choices": [7]}, {"choices": {"a": 1}}, delta(tool_calls=[3])])
async def test_nonsense_event_is_a_bad_reply(open_client: OpenClient, chunk: object) -> None:
    with pytest.raises(UnavailableError) as caught:
        await streamed(open_client, events(chunk))

    assert caught.value.reason == "model_bad_reply"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"choices":[7]}', b"[]"])
async def test_nonsense_reply_is_a_bad_reply(open_client: OpenClient, body: bytes) -> None:
    async with fixed_provider(body, [], "application/json") as base_url:
        models = await open_client(default={"base_url": base_url})
        with pytest.raises(UnavailableError) as caught:
            await models.complete(HELLO, routes=["default"])

    assert caught.value.reason == "model_bad_reply"


async def test_route_decides_how_the_request_looks(open_client: OpenClient) -> None:
    seen: list[Any] = []
    async with fixed_provider(events(delta("stop", content="Hi")), seen, "text/event-stream") as base_url:
        models = await open_client(
            default={
                "base_url": base_url + "/",
                "model": "gpt",
                "api_key": "k",
                "api_key_header": "api-key",
                "headers": {"HTTP-Referer": "https://example.com"},
                "query": {"api-version": "2024-10-21"},
                "extra_body": {"reasoning_effort": "low"},
                "omit": ["temperature"],
                "max_tokens_field": "max_completion_tokens",
                "streams_usage": False,
            }
        )
        async for _ in models.stream(HELLO, routes=["default"]):
            pass

    request, body = seen
    assert request.path == "/v1/chat/completions"
    assert dict(request.query) == {"api-version": "2024-10-21"}
    assert request.headers["api-key"] == "k"
    assert "Authorization" not in request.headers
    assert request.headers["HTTP-Referer"] == "https://example.com"
    assert body == {
        "model": "gpt",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "max_completion_tokens": 9,
        "reasoning_effort": "low",
    }


async def test_key_is_a_bearer_token_and_a_keyless_route_sends_none(open_client: OpenClient) -> None:
    seen: list[Any] = []
    async with fixed_provider(events(delta("stop", content="Hi")), seen, "text/event-stream") as base_url:
        models = await open_client(keyed={"base_url": base_url, "api_key": "k"}, keyless={"base_url": base_url})
        for route in ("keyed", "keyless"):
            async for _ in models.stream(HELLO, routes=[route]):
                pass

    assert seen[0].headers["Authorization"] == "Bearer k"
    assert "Authorization" not in seen[2].headers


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"sk-secret\nsk-other", b"sk-secret\x00"])
async def test_key_that_cannot_be_read_is_refused_credentials_logged_and_counted(
    open_client: OpenClient,
    registry: CollectorRegistry,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    async with fixed_provider(events(delta("stop", content="Hi")), [], "text/event-stream") as base_url:
        models = await open_client(keyed={"base_url": base_url, "api_key_file": file}, keyless={"base_url": base_url})

        with pytest.raises(FailedPreconditionError) as caught:
            await models.complete(HELLO, routes=["keyed"])
        parts = [part async for part in models.stream(HELLO, routes=["keyed", "keyless"])]

    assert caught.value.reason == "model_credentials_refused"
    assert str(tmp_path) not in caught.value.message
    assert parts[-1].route == "keyless"
    counted = {"route": "keyed", "reason": "model_credentials_refused"}
    assert registry.get_sample_value("flotilla_model_errors_total", counted) == 2
    logged = [record for record in caplog.records if record.message == "a route's API key cannot be read"]
    assert [record.__dict__["route"] for record in logged] == ["keyed", "keyed"]
    assert "secret" not in str([record.__dict__ for record in logged])


async def test_key_that_can_be_read_again_is_used(open_client: OpenClient, tmp_path: Path) -> None:
    seen: list[Any] = []
    async with fixed_provider(events(delta("stop", content="Hi")), seen, "text/event-stream") as base_url:
        models = await open_client(default={"base_url": base_url, "api_key_file": tmp_path / "key"})
        with pytest.raises(FailedPreconditionError):
            [part async for part in models.stream(HELLO, routes=["default"])]
        (tmp_path / "key").write_text("k\n")

        [part async for part in models.stream(HELLO, routes=["default"])]

    assert seen[0].headers["Authorization"] == "Bearer k"
