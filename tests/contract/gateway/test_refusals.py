"""What the OpenAI wire refuses, and how it says so."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import orjson
import pytest
from fakes.gateway import RunningGateway
from fakes.orchestrator import FakeOrchestrator
from flotilla_common.errors import (
    AbortedError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from flotilla_gateway.model import DEFAULT_TENANT_ID, Scope
from flotilla_gateway.wires.openai.parse import parse_json
from openai import AsyncOpenAI

ASK: Any = [{"role": "user", "content": "Hello?"}]
CALL: Any = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL: Any = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL] * 129}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}
                ]
            },
            "messages[0].content[1]",
        ),
        ({"messages": [*ASK, {"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [*ASK, {"role": "tool", "tool_call_id": "call_x", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"messages": [*ASK, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"messages": [*ASK, {"role": "assistant", "tool_calls": [CALL]}, *ASK]}, "messages[2]"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]}, "messages[0].tool_calls"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["1", "2", "3", "4", "5"]}, "stop"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"metadata": {"thread_id": ""}}, "metadata.thread_id"),
        ({"metadata": {"on_disconnect": "maybe"}}, "metadata.on_disconnect"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: "x"}}, "metadata"),
        ({"metadata": {"team": "x" * 513}}, "metadata.team"),
        ({"metadata": {"team": 7}}, "metadata.team"),
        ({"tool_choice": [[]] * 3}, "tool_choice"),
    ],
)
async def test_bad_body_names_the_field(
    client: AsyncOpenAI, orchestrator: FakeOrchestrator, changes: dict[str, Any], param: str
) -> None:
    body = {"model": "assistant", "messages": ASK, **changes}

    with pytest.raises(openai.BadRequestError) as caught:
        await client.post("/chat/completions", body=body, cast_to=object)

    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert orchestrator.starts == []


async def test_missing_field_and_bad_json_are_bad_requests(client: AsyncOpenAI, gateway: RunningGateway) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.post("/chat/completions", body={"messages": ASK}, cast_to=object)
    assert (caught.value.param, caught.value.code) == ("model", "missing_required_parameter")

    for content in (b"{", b"[]", b'{"a": NaN}', b"\xff"):
        async with httpx.AsyncClient() as http:
            reply = await http.post(
                f"{gateway.url}/v1/chat/completions", content=content, headers={"x-api-key": client.api_key}
            )
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")


async def test_metadata_within_openais_bounds_is_the_runs(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    metadata = {f"{number:064}": "x" * 512 for number in range(16)}

    await client.chat.completions.create(model="assistant", messages=ASK, metadata=metadata)

    assert orjson.loads(orchestrator.starts[0].metadata_json) == metadata


async def test_harmless_fields_are_ignored(client: AsyncOpenAI) -> None:
    harmless = {"n": 1, "logprobs": False, "presence_penalty": 0, "store": True, "reasoning_effort": "low", "x_new": 1}

    reply = await client.chat.completions.create(model="assistant", messages=ASK, extra_body=harmless)

    assert reply.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("refusal", "kind", "status", "code"),
    [
        (AbortedError("Busy.", reason="thread_busy"), openai.ConflictError, 409, "thread_busy"),
        (InvalidArgumentError("Clash.", field="tools[0].function.name"), openai.BadRequestError, 400, None),
        (ResourceExhaustedError("Full.", retry_after_s=2), openai.RateLimitError, 429, "rate_limit_exceeded"),
    ],
)
async def test_what_the_orchestrator_refuses_keeps_its_class(
    client: AsyncOpenAI,
    orchestrator: FakeOrchestrator,
    refusal: Any,
    kind: type[openai.APIStatusError],
    status: int,
    code: str | None,
) -> None:
    orchestrator.refusal = refusal

    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model="assistant", messages=ASK)

    assert (caught.value.status_code, caught.value.code, caught.value.param) == (status, code, refusal.field)
    if refusal.retry_after_s:
        assert caught.value.response.headers["retry-after"] == "2"
        assert caught.value.response.headers["retry-after-ms"] == "2000"


async def test_nobody_accepts_the_run(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    orchestrator.refusal = UnavailableError("The database is away.", reason="database_unavailable")

    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="assistant", messages=ASK)

    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert len(orchestrator.starts) > 1


@pytest.mark.parametrize("key", ["fl_wrong", "fl_" + "a" * 50, "x" * 5000, "clé" * 20])
async def test_bad_key_is_unauthenticated(gateway: RunningGateway, key: str) -> None:
    async with httpx.AsyncClient() as http:
        reply = await http.get(f"{gateway.url}/v1/models", headers={b"authorization": f"Bearer {key}".encode()})

    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert reply.headers["x-request-id"]


async def test_no_key_is_unauthenticated(gateway: RunningGateway) -> None:
    async with httpx.AsyncClient() as http:
        reply = await http.get(f"{gateway.url}/v1/models")

    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "api_key_missing")


async def test_scope_that_is_missing_is_forbidden_and_recorded(gateway: RunningGateway) -> None:
    key = await gateway.key(Scope.EMBEDDINGS)

    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError):
            await client.chat.completions.create(model="assistant", messages=ASK)

    newest = (await gateway.audit.list(DEFAULT_TENANT_ID))[0]
    assert (newest.action, newest.target, newest.outcome) == ("access", "/v1/chat/completions", "denied")
    assert newest.address == "127.0.0.1"


async def test_unknown_agent_is_a_model_that_does_not_exist(
    client: AsyncOpenAI, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.refusal = NotFoundError("There is no agent 'nobody'.", reason="agent_not_found", field="agent")

    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="nobody", messages=ASK)

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_spent_limit_says_when_to_come_back(gateway: RunningGateway) -> None:
    key = await gateway.key(Scope.CHAT, requests_per_minute=2)

    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        raw = await client.models.with_raw_response.list()
        assert raw.headers["x-ratelimit-limit-requests"] == "2"
        assert raw.headers["x-ratelimit-remaining-requests"] == "1"
        await client.models.list()
        with pytest.raises(openai.RateLimitError) as caught:
            await client.models.list()

    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 61
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize("text", ["Hello?", "x" * 20_000], ids=["small", "large"])
@pytest.mark.parametrize(("changes", "status"), [({}, 200), ({"temperature": "hot"}, 400)], ids=["right", "wrong"])
async def test_chat_over_the_limit_starts_no_run_and_is_not_looked_at(
    gateway: RunningGateway, orchestrator: FakeOrchestrator, text: str, changes: dict[str, Any], status: int
) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": text}], **changes}

    async with httpx.AsyncClient(headers={"x-api-key": await gateway.key(requests_per_minute=1)}) as http:
        first, second = [await http.post(f"{gateway.url}/v1/chat/completions", json=body) for _ in range(2)]

    assert [first.status_code, second.status_code] == [status, 429]
    assert second.json()["error"]["code"] == "rate_limit_exceeded"
    for reply in (first, second):
        assert reply.headers["x-ratelimit-limit-requests"] == "1"
        assert reply.headers["x-ratelimit-remaining-requests"] == "0"
        assert reply.headers["x-ratelimit-reset-requests"].endswith("ms")
    assert 1 <= int(second.headers["retry-after"]) <= 61
    assert len(orchestrator.starts) == (1 if status == 200 else 0)


@pytest.mark.parametrize(("length", "is_read"), [(16_000, True), (16_001, False)])
async def test_large_chat_over_the_limit_is_not_read(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, length: int, is_read: bool
) -> None:
    """A small one is read while its limit is asked, a large one would hold everybody up."""

    def read(body: bytes) -> dict[str, Any]:
        bodies.append(body)
        return parse_json(body)

    bodies: list[bytes] = []
    monkeypatch.setattr("flotilla_gateway.wires.openai.chat.parse_json", read)

    async with httpx.AsyncClient(headers={"x-api-key": await gateway.key(requests_per_minute=1)}) as http:
        await http.get(f"{gateway.url}/v1/models")
        reply = await http.post(f"{gateway.url}/v1/chat/completions", content=b"{}".ljust(length))

    assert reply.status_code == 429
    assert bool(bodies) == is_read
