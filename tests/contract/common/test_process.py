"""A service as a process: settings, signals, drain."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from contract.common.peer import IDENTITY, SERVICE, Transport, bare_channel
from flotilla_common.drain import request_drain
from flotilla_common.identity import IdentitySigner
from grpc.aio import AioRpcError

PROGRAM = Path(__file__).with_name("process.py")
_READY = re.compile(r"flotilla_ready \d")


@dataclass
class Running:
    """A process, where it listens, and what it wrote."""

    process: asyncio.subprocess.Process
    ports: dict[str, int]
    signer: IdentitySigner

    def slow(self, channel: Any, seconds: float) -> Any:
        return self._call(channel, "Slow", str(seconds).encode())

    def held(self, channel: Any) -> Any:
        """Calls what is done when `let_go` is called."""
        return self._call(channel, "Held", b"")

    def let_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    def _call(self, channel: Any, method: str, request: bytes) -> Any:
        metadata = (("x-flotilla-identity", self.signer.sign(IDENTITY, audience="memory")),)
        return channel.unary_unary(f"/{SERVICE}/{method}")(request, metadata=metadata)

    async def ready(self) -> str:
        """Returns what the metrics page says of `flotilla_ready`."""
        url = f"http://127.0.0.1:{self.ports['metrics_port']}/metrics"
        async with httpx.AsyncClient() as client:
            page = (await client.get(url)).text
        return next(line.removeprefix("flotilla_ready ") for line in page.splitlines() if _READY.match(line))

    async def until_ready(self) -> None:
        async with asyncio.timeout(10):
            while await self.ready() != "1.0":  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.02)

    async def until_written(self, text: str) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            if line.decode().strip() == text:
                return
        raise AssertionError(f"the process ended without writing {text!r}")


def environment(keys: Path, **changes: str) -> dict[str, str]:
    given = {
        "PATH": os.environ["PATH"],
        "APP_ENV": "production",
        "THING_HOST": "127.0.0.1",
        "THING_GRPC_PORT": "0",
        "THING_HEALTH_PORT": "0",
        "THING_METRICS_PORT": "0",
        "THING_DRAIN_MAX_S": "20",
        "THING_IDENTITY_KEYS_DIR": str(keys),
        "THING_DATABASE_URL": "postgresql://nobody:hunter2@nowhere/none",
    }
    return {name: value for name, value in {**given, **changes}.items() if value}


async def start(variables: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), env=variables,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def host() -> str:
    """Where the process listens."""
    return "127.0.0.1"


@pytest.fixture
async def running(keys: Path, signer: IdentitySigner, host: str) -> AsyncIterator[Running]:
    process = await start(environment(keys, THING_HOST=host))
    assert process.stdout is not None
    ports: dict[str, int] = {}
    while not ports:
        line = json.loads(await process.stdout.readline())
        ports = {name: line[name] for name in ("port", "health_port", "metrics_port")} if "port" in line else {}
    yield Running(process, ports, signer)
    if process.returncode is None:
        process.kill()
    await process.communicate()


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::"])
async def test_process_serves_both_families_and_is_drained_from_its_own_machine(running: Running) -> None:
    await running.until_ready()
    six_address = f"[::1]:{running.ports['port']}"
    async with grpc.aio.insecure_channel(six_address) as six, bare_channel(running.ports["port"]) as four:
        answers = [await running.slow(channel, 0) for channel in (six, four)]
    async with httpx.AsyncClient() as client:
        page = await client.get(f"http://[::1]:{running.ports['metrics_port']}/metrics")
    said = await asyncio.to_thread(request_drain, running.ports["metrics_port"])

    assert len(answers) == 2
    assert page.status_code == 200
    assert said == "drained"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("THING_DATABASE_URL", ""), ("THING_GRPC_PORT", "many"), ("APP_ENV", "prod"), ("THING_IDENTITY_KEYS_DIR", "")],
)
async def test_wrong_settings_end_the_process_with_status_2_and_the_name(keys: Path, variable: str, value: str) -> None:
    process = await start(environment(keys, **{variable: value}))

    output, errors = await process.communicate()

    assert process.returncode == 2
    assert errors.decode().startswith(f"{variable}: ")
    assert output == b""
    assert b"hunter2" not in errors


async def test_term_lets_the_work_finish_and_ends_with_status_0(running: Running) -> None:
    async with bare_channel(running.ports["port"]) as channel:
        call = running.held(channel)
        await running.until_written("started")
        running.process.send_signal(signal.SIGTERM)
        await running.until_written("handed back")
        running.let_go()

        assert await call == b"done"
    async with asyncio.timeout(10):
        assert await running.process.wait() == 0


async def test_ready_is_1_until_the_drain_and_0_while_work_finishes(running: Running) -> None:
    await running.until_ready()
    async with bare_channel(running.ports["port"]) as channel:
        call = running.held(channel)
        await running.until_written("started")
        at_work = await running.ready()
        running.process.send_signal(signal.SIGTERM)
        await running.until_written("handed back")
        draining = await running.ready()
        running.let_go()

        assert await call == b"done"
    assert (at_work, draining) == ("1.0", "0.0")


async def test_second_term_stops_at_once(running: Running) -> None:
    async with bare_channel(running.ports["port"]) as channel:
        call = running.slow(channel, 60)
        await running.until_written("started")
        running.process.send_signal(signal.SIGTERM)
        await running.until_written("handed back")
        running.process.send_signal(signal.SIGTERM)

        async with asyncio.timeout(10):
            assert await running.process.wait() == 0
        with pytest.raises(AioRpcError):
            await call


async def test_drain_answers_when_the_work_is_done_and_the_process_lives_on(running: Running) -> None:
    async with bare_channel(running.ports["port"]) as channel:
        call = running.held(channel)
        await running.until_written("started")

        asking = asyncio.create_task(asyncio.to_thread(request_drain, running.ports["metrics_port"], max_s=10))
        await running.until_written("handed back")
        _, still_asking = await asyncio.wait([asking], timeout=0.3)

        assert still_asking
        running.let_go()
        assert (await call, await asking) == (b"done", "drained")
        assert running.process.returncode is None
        with pytest.raises(AioRpcError) as caught:
            await watch_of(channel, "nobody")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    running.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await running.process.wait() == 0


def watch_of(channel: Any, token: str) -> Any:
    return channel.unary_unary(f"/{SERVICE}/Slow")(b"0", metadata=(("x-flotilla-identity", token),))


async def test_drain_as_a_command_always_succeeds(running: Running) -> None:
    async def command(port: int) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flotilla_common.drain", "--port", str(port), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    assert await command(running.ports["metrics_port"]) == (0, "drained\n")
    status, output = await command(1)
    assert (status, output.startswith("nothing to drain on port 1")) == (0, True)


@pytest.mark.parametrize(
    ("variable", "port"),
    [("THING_GRPC_PORT", "port"), ("THING_HEALTH_PORT", "health_port"), ("THING_METRICS_PORT", "metrics_port")],
)
async def test_taken_port_ends_the_process_with_status_1_and_is_named(
    keys: Path, running: Running, variable: str, port: str
) -> None:
    process = await start(environment(keys, **{variable: str(running.ports[port])}))

    output, _ = await process.communicate()

    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{running.ports[port]}" in output.decode()


async def test_call_to_a_process_that_is_killed_is_unavailable(running: Running, transport: Transport) -> None:
    async with transport.open(f"127.0.0.1:{running.ports['port']}", running.signer) as channel:
        await transport.settle(channel)
        call = running.slow(channel, 60)
        await running.until_written("started")

        running.process.kill()

        with pytest.raises(AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_term_lets_the_work_on_shared_streams_finish(running: Running, transport: Transport) -> None:
    async with transport.open(f"127.0.0.1:{running.ports['port']}", running.signer) as channel:
        await transport.settle(channel)
        call = running.slow(channel, 1.0)
        await running.until_written("started")
        running.process.send_signal(signal.SIGTERM)

        assert await call == b"done"
        async with asyncio.timeout(10):
            assert await running.process.wait() == 0
