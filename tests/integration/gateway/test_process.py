"""The gateway as a process: settings, start, readiness, metrics and a graceful end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fakes.gateway import until_refused
from fakes.orchestrator import FakeOrchestrator, Pause, done, fake_orchestrator
from fakes.servers import ServiceDatabase, free_ports
from flotilla.orchestrator.v1.orchestrator_service_pb2_grpc import add_OrchestratorServiceServicer_to_server
from flotilla_common.drain import request_drain
from flotilla_common.identity import generate_key_pair
from grpc import aio
from openai import AsyncOpenAI

ADMIN_KEY = "fl_admin_" + "a1" * 30


@asynccontextmanager
async def process(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs the gateway and ends it."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flotilla_gateway",
        env={"PATH": os.environ["PATH"], "APP_ENV": "test", **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


@pytest.fixture
def environment(
    gateway_database: ServiceDatabase, valkey_url: str, orchestrator_at: tuple[FakeOrchestrator, str], tmp_path: Path
) -> dict[str, str]:
    generate_key_pair(tmp_path / "gateway.key", tmp_path / "gateway.pub")
    (tmp_path / "pepper").write_text("p" * 40)
    (tmp_path / "admin").write_text(ADMIN_KEY + "\n")
    http, metrics = free_ports(2)
    return {
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_HTTP_PORT": str(http),
        "GATEWAY_METRICS_PORT": str(metrics),
        "GATEWAY_DATABASE_URL": gateway_database.url,
        "GATEWAY_REDIS_URL": valkey_url,
        "GATEWAY_IDENTITY_PRIVATE_KEY_FILE": str(tmp_path / "gateway.key"),
        "GATEWAY_KEY_PEPPER_FILE": str(tmp_path / "pepper"),
        "GATEWAY_ADMIN_KEY_FILE": str(tmp_path / "admin"),
        "GATEWAY_ORCHESTRATOR_TARGET": orchestrator_at[1],
        "GATEWAY_MEMORY_TARGET": orchestrator_at[1],
        "GATEWAY_TOOL_TARGET": orchestrator_at[1],
        "GATEWAY_LOG_FORMAT": "json",
        "GATEWAY_DRAIN_MAX_S": "10",
    }


async def until_ready(url: str, running: asyncio.subprocess.Process) -> httpx.Response:
    """Asks until the gateway is ready."""
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while running.returncode is None:
            try:
                reply = await client.get(f"{url}/ready")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if reply.status_code == 200:
                return reply
    raise AssertionError("the gateway ended while starting")


@asynccontextmanager
async def orchestrator_on(port: int) -> AsyncIterator[None]:
    """Serves an orchestrator on a port that is known before and after."""
    server = aio.server()
    add_OrchestratorServiceServicer_to_server(fake_orchestrator(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def until_accepted(port: int, running: asyncio.subprocess.Process) -> None:
    """Connects until the gateway takes it; no request is made."""
    async with asyncio.timeout(30):
        while running.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
    raise AssertionError("the gateway ended while starting")


async def until_counted(client: httpx.AsyncClient, url: str, sample: str) -> None:
    """Reads metrics until they hold a sample: a request is counted after its reply."""
    async with asyncio.timeout(10):
        while sample not in (await client.get(url)).text:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)


async def test_process_serves_and_lets_streams_finish_on_sigterm(
    environment: dict[str, str], orchestrator_at: tuple[FakeOrchestrator, str]
) -> None:
    pause = Pause()
    orchestrator_at[0].script = lambda _: [pause, done("To the end.")]
    url = f"http://127.0.0.1:{environment['GATEWAY_HTTP_PORT']}"

    async with process(environment) as running:
        ready = await until_ready(url, running)
        async with (
            AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client,
            httpx.AsyncClient(headers={"x-api-key": ADMIN_KEY}) as http,
        ):
            made = await http.post(f"{url}/v1/keys", json={"name": "x", "scopes": ["chat"]})
            metrics_url = f"http://127.0.0.1:{environment['GATEWAY_METRICS_PORT']}/metrics"
            await until_counted(http, metrics_url, 'flotilla_gateway_http_requests_total{handler="/v1/keys"')
            chat = await client.chat.completions.create(
                model="assistant", messages=[{"role": "user", "content": "?"}], stream=True
            )
            running.send_signal(signal.SIGTERM)
            await until_refused(int(environment["GATEWAY_HTTP_PORT"]))
            draining = (await http.get(metrics_url)).text
            pause.gate.set()
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in chat])
        output, _ = await asyncio.wait_for(running.communicate(), 15)

    assert {name: state["state"] for name, state in ready.json()["dependencies"].items()} == {
        "database": "up", "orchestrator": "up", "redis": "up",
    }  # fmt: skip
    assert made.status_code == 201
    assert "\nflotilla_ready 0.0\n" in draining
    assert text == "To the end."
    assert running.returncode == 0, output.decode()
    served = [line for line in output.decode().splitlines() if "Request served" in line]
    assert any('"path":"/v1/chat/completions"' in line and '"trace_id"' in line for line in served)
    assert ADMIN_KEY not in output.decode()


async def test_ready_on_the_metrics_port_follows_the_orchestrator_though_nobody_asks(
    environment: dict[str, str],
) -> None:
    (port,) = free_ports(1)
    environment["GATEWAY_ORCHESTRATOR_TARGET"] = f"127.0.0.1:{port}"
    metrics_port = int(environment["GATEWAY_METRICS_PORT"])
    url = f"http://127.0.0.1:{metrics_port}/metrics"

    async with process(environment) as running, httpx.AsyncClient() as client:
        await until_accepted(int(environment["GATEWAY_HTTP_PORT"]), running)
        await until_counted(client, url, "\nflotilla_ready 0.0\n")
        async with orchestrator_on(port):
            await until_counted(client, url, "\nflotilla_ready 1.0\n")
        await until_counted(client, url, "\nflotilla_ready 0.0\n")
        async with orchestrator_on(port):
            await until_counted(client, url, "\nflotilla_ready 1.0\n")
            drained = await asyncio.to_thread(request_drain, metrics_port, max_s=10)
            draining = (await client.get(url)).text

    assert drained == "drained"
    assert "\nflotilla_ready 0.0\n" in draining


async def test_failures_of_every_path_are_on_the_metrics_page_before_the_first(environment: dict[str, str]) -> None:
    served = [
        *(("POST", path) for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/keys")),
        *(("GET", path) for path in ("/v1/models", "/v1/keys", "/v1/runs/{run_id}", "/v1/runs/{run_id}/events")),
    ]

    async with process(environment) as running, httpx.AsyncClient() as client:
        await until_accepted(int(environment["GATEWAY_HTTP_PORT"]), running)
        page = (await client.get(f"http://127.0.0.1:{environment['GATEWAY_METRICS_PORT']}/metrics")).text

    name = "flotilla_gateway_http_requests_total"
    for method, path in served:
        assert f'\n{name}{{handler="{path}",method="{method}",status="5xx"}} 0.0\n' in page


async def test_missing_setting_ends_the_process_naming_it(environment: dict[str, str]) -> None:
    del environment["GATEWAY_REDIS_URL"]

    async with process(environment) as running:
        output, _ = await asyncio.wait_for(running.communicate(), 30)

    assert running.returncode == 2
    assert b"GATEWAY_REDIS_URL" in output
