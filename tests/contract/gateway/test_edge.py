"""What every path has: ids, headers, bounds, shapes of errors; and models, embeddings and status."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fakes.gateway import RunningGateway, running_gateway, until_refused
from fakes.orchestrator import CREATED_S, FakeOrchestrator, Pause, done
from flotilla_gateway.model import DEFAULT_TENANT_ID
from flotilla_gateway.stores.audit import InMemoryAuditLog
from openai import AsyncOpenAI

ASK: Any = [{"role": "user", "content": "Hello?"}]


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    key = await gateway.key()
    async with httpx.AsyncClient(base_url=gateway.url, headers={"x-api-key": key}) as made:
        yield made


async def test_models_are_the_agents(client: AsyncOpenAI) -> None:
    models = [model async for model in client.models.list()]

    assert [(model.id, model.object, model.created, model.owned_by) for model in models] == [
        ("assistant", "model", CREATED_S, "flotilla"),
        ("research", "model", CREATED_S, "flotilla"),
    ]


async def test_model_is_found_by_name_and_release(client: AsyncOpenAI) -> None:
    assert (await client.models.retrieve("assistant")).id == "assistant"
    assert (await client.models.retrieve("assistant@a1b2c3d4")).id == "assistant@a1b2c3d4"
    for unknown in ("nobody", "assistant@ffffffff", "assistant@a1"):
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve(unknown)


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings(client: AsyncOpenAI, orchestrator: FakeOrchestrator, encoding: Any) -> None:
    reply = await client.embeddings.create(model="embedding", input=["abc", "de"], encoding_format=encoding)

    assert reply.usage.total_tokens == 6
    vectors: list[Any] = [item.embedding for item in reply.data]
    as_text, as_numbers = ["AABAQAAAAD8AAIC/", "AAAAQAAAAD8AAIC/"], [[3.0, 0.5, -1.0], [2.0, 0.5, -1.0]]
    assert vectors == (as_text if encoding == "base64" else as_numbers)


@pytest.mark.parametrize(("changes", "param"), [({"input": [1, 2]}, "input[0]"), ({"dimensions": 5}, "dimensions")])
async def test_embeddings_refuse_by_name(client: AsyncOpenAI, changes: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.post("/embeddings", body={"model": "m", "input": "x", **changes}, cast_to=object)

    assert caught.value.param == param


async def test_every_reply_has_its_ids_and_security_headers(http: httpx.AsyncClient) -> None:
    given = await http.get("/ok", headers={"x-request-id": "mine-1"})
    made = await http.get("/v1/models", headers={"x-request-id": "not valid!"})

    assert given.headers["x-request-id"] == "mine-1"
    assert re.fullmatch(r"[0-9a-f-]{36}", made.headers["x-request-id"])
    for reply in (given, made):
        assert float(reply.headers["x-process-time"]) >= 0
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "server" not in reply.headers


async def test_request_id_and_trace_reach_the_orchestrator(
    http: httpx.AsyncClient, orchestrator: FakeOrchestrator
) -> None:
    await http.post(
        "/v1/chat/completions", json={"model": "assistant", "messages": ASK}, headers={"x-request-id": "req-9"}
    )

    assert orchestrator.metadata[0]["x-request-id"] == "req-9"
    assert orchestrator.metadata[0]["x-flotilla-identity"].count(".") == 2


async def test_unknown_paths_and_methods_have_the_shape_of_their_wire(http: httpx.AsyncClient) -> None:
    unknown, wrong, elsewhere = await http.get("/v1/nothing"), await http.put("/v1/models"), await http.get("/nothing")

    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "invalid_request_error")
    assert (wrong.status_code, wrong.json()["error"]["code"], wrong.headers["allow"]) == (
        405,
        "method_not_allowed",
        "GET",
    )
    assert (elsewhere.status_code, list(elsewhere.json())) == (404, ["detail"])
    assert all(reply.headers["x-request-id"] for reply in (unknown, wrong, elsewhere))


async def test_too_large_body_is_refused_however_it_comes(
    http: httpx.AsyncClient, orchestrator: FakeOrchestrator
) -> None:
    async def chunked() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 50_000

    announced = await http.post("/v1/chat/completions", content=b" " * 1_000_001)
    streamed = await http.post("/v1/chat/completions", content=chunked())

    for reply in (announced, streamed):
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
        assert reply.headers["connection"] == "close"


async def test_encoded_and_deep_bodies_are_refused(http: httpx.AsyncClient) -> None:
    deep = b'{"messages":' + b"[" * 64 + b"]" * 64 + b"}"

    encoded = await http.post("/v1/chat/completions", content=b"x", headers={"content-encoding": "gzip"})
    nested = await http.post("/v1/chat/completions", content=deep)

    assert (encoded.status_code, encoded.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert (nested.status_code, nested.json()["error"]["code"]) == (400, "json_too_deep")


async def test_slow_body_is_refused_and_its_connection_closed(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.bound_port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")

    async with asyncio.timeout(10):
        reply = await reader.read()
    writer.close()

    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b'"body_too_slow"' in reply


async def test_slow_headers_are_not_waited_for(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.bound_port)
    writer.write(b"GET /ok HTTP/1.1\r\nhost: x\r\nx-slow")

    async with asyncio.timeout(10):
        reply = await reader.read()
    writer.close()

    assert reply == b""


@pytest.mark.parametrize("pieces", [[b"x" * 70_000 + b"\r\n\r\n"], [b"x" * 100, b"x" * 66_000]], ids=["whole", "cut"])
async def test_too_large_headers_are_refused_however_they_come(gateway: RunningGateway, pieces: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.bound_port)
    writer.write(b"GET /ok HTTP/1.1\r\nhost: x\r\nx-large: ")
    for piece in pieces:
        # So that the server reads the pieces one by one.
        await asyncio.sleep(0.1)
        writer.write(piece)

    async with asyncio.timeout(10):
        status = await reader.readline()
    writer.close()

    assert status == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


@pytest.mark.parametrize("line", [b"aa:bb\r\n", b"a" * 1000], ids=["many", "one"])
async def test_trailers_without_end_are_cut_off(gateway: RunningGateway, line: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.bound_port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")

    sent = 0
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            while not reader.at_eof() and sent < 4_000_000:
                writer.write(line * 10)
                sent += 10 * len(line)
                await writer.drain()
                # So that the server's answer is seen.
                await asyncio.sleep(0)
    writer.close()

    assert sent < 4_000_000


async def test_trailers_of_a_chunked_body_change_nothing(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.bound_port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        b"2\r\n{}\r\n0\r\nauthorization: Bearer smuggled\r\n\r\n"
    )

    async with asyncio.timeout(10):
        reply = await reader.read()
    writer.close()

    assert reply.startswith(b"HTTP/1.1 401 ")
    assert b'"api_key_missing"' in reply


@pytest.mark.parametrize(
    ("request_", "after"),
    [
        (b"GET /ok HTTP/1.1\r\nhost: x\r\n\r\n", b"\r\n"),
        (b"GET /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n", b"x"),
        (b"GET /ok HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nx"),
    ],
    ids=["empty line", "length", "chunks"],
)
async def test_connection_that_was_served_is_not_kept_by_what_begins_no_request(
    gateway: RunningGateway, request_: bytes, after: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.bound_port)
    writer.write(request_)
    await reader.readuntil(b'{"ok":true}')
    # After the reply, so that it is this that uvicorn stops waiting for.
    await asyncio.sleep(0.2)
    writer.write(after)

    async with asyncio.timeout(10):
        rest = await reader.read()
    writer.close()

    assert rest == b""


async def test_connection_that_was_served_may_wait_for_its_next_request(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.bound_port)
    statuses = []
    for pause_s in (2.5, 0):
        writer.write(b"GET /ok HTTP/1.1\r\nhost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        statuses.append(head.split(b" ", 2)[1])
        await reader.readexactly(len(b'{"ok":true}'))
        # Longer than the head of a request may take.
        await asyncio.sleep(pause_s)
    writer.close()

    assert statuses == [b"200", b"200"]


@pytest.mark.parametrize(("trusted", "address"), [(["127.0.0.0/8"], "203.0.113.9"), ([], "127.0.0.1")])
async def test_audit_log_believes_only_trusted_proxies(
    orchestrator_at: tuple[FakeOrchestrator, str], tmp_path: Path, trusted: list[str], address: str
) -> None:
    audit = InMemoryAuditLog()
    async with (
        running_gateway(orchestrator_at[1], tmp_path, audit=audit, trusted_proxies=trusted) as gateway,
        httpx.AsyncClient(base_url=gateway.url) as proxy,
    ):
        headers = {"x-api-key": await gateway.key(), "x-forwarded-for": "203.0.113.9"}
        reply = await proxy.get("/v1/keys", headers=headers)

    assert reply.status_code == 403
    (entry,) = [entry for entry in await audit.list(DEFAULT_TENANT_ID) if entry.action == "access"]
    assert entry.address == address


async def test_status_paths_need_no_key(gateway: RunningGateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as stranger:
        ok, health, info, ready = [await stranger.get(path) for path in ("/ok", "/health", "/info", "/ready")]
        documents = [await stranger.get(path) for path in ("/openapi.json", "/docs")]

    assert [reply.status_code for reply in (ok, health, info, ready, *documents)] == [200] * 6
    assert ok.json() == {"ok": True}
    assert ready.json()["dependencies"]["orchestrator"]["state"] == "up"
    assert ready.json()["dependencies"]["orchestrator"]["latency_ms"] >= 0
    assert "/v1/chat/completions" in documents[0].json()["paths"]


async def test_ready_fails_without_an_orchestrator(tmp_path: Path) -> None:
    async with running_gateway("127.0.0.1:1", tmp_path) as gateway, httpx.AsyncClient() as stranger:
        reply = await stranger.get(f"{gateway.url}/ready")

    assert (reply.status_code, reply.json()["dependencies"]["orchestrator"]["state"]) == (503, "down")


async def test_pages_of_allowed_origins_may_call(orchestrator_at: tuple[FakeOrchestrator, str], tmp_path: Path) -> None:
    asks = {"origin": "https://app.example", "access-control-request-method": "POST"}
    async with (
        running_gateway(orchestrator_at[1], tmp_path, origins=["https://app.example"]) as gateway,
        httpx.AsyncClient(base_url=gateway.url) as page,
    ):
        preflight = await page.options("/v1/chat/completions", headers=asks)
        reply = await page.get("/ok", headers={"origin": "https://app.example"})
        foreign = await page.get("/ok", headers={"origin": "https://evil.example"})

    allowed = {name.lower() for name in preflight.headers["access-control-allow-headers"].split(", ")}
    assert allowed >= {
        "authorization", "x-api-key", "x-auth-scheme", "content-type", "last-event-id", "accept", "cache-control",
        "idempotency-key", "x-thread-id",
    }  # fmt: skip
    assert reply.headers["access-control-expose-headers"].lower().split(", ") == [
        "content-location", "location", "x-pagination-total", "x-pagination-next", "x-request-id", "x-run-id",
        "retry-after",
    ]  # fmt: skip
    assert "access-control-allow-origin" not in foreign.headers


async def test_stream_goes_on_while_the_server_stops(
    gateway: RunningGateway, client: AsyncOpenAI, orchestrator: FakeOrchestrator
) -> None:
    pause = Pause()
    orchestrator.script = lambda _: [pause, done("All of it.")]
    chat = await client.chat.completions.create(model="assistant", messages=ASK, stream=True)

    gateway.server.stop()
    await until_refused(gateway.server.bound_port)
    pause.gate.set()

    assert "".join([chunk.choices[0].delta.content or "" async for chunk in chat]) == "All of it."
    assert not orchestrator.last.cancelled.is_set()
