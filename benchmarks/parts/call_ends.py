"""One end of a call as services have it: `python -m benchmarks.parts.call_ends serve|ask TRANSPORT KEYS [PORT]`."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import uvloop
from flotilla_common.identity import Identity, IdentitySigner
from flotilla_common.request import acting_as
from flotilla_common.rpc.channel import open_channel
from flotilla_common.serve import open_server, settle_garbage_collector
from flotilla_common.settings import ServiceSettings
from grpc import aio
from prometheus_client import REGISTRY

from benchmarks.parts.worker import answer, questions

SHARED = "shared"
_SERVICE = "flotilla.benchmark.v1.EchoService"
_IDENTITY = Identity(uuid4(), uuid4(), scopes=frozenset({"chat"}))
_SECONDS = struct.Struct("!d")
_NUMBERS = itertools.count()
_PADDING = b"x" * 240
_WARM_UP_S = 0.1
_SETTLED_WITHIN_S = 10.0
Call = Callable[[bytes], Awaitable[bytes]]


@dataclass(slots=True)
class Round:
    """What one round saw."""

    took_s: list[float] = field(default_factory=list)
    wrong: int = 0


async def echo_for(call: Call, at_once: int, seconds: float) -> Round:
    """Calls a method that answers what it was asked, again and again with so many calls in flight."""
    seen, until = Round(), time.perf_counter() + seconds

    async def caller() -> None:
        started = time.perf_counter()
        while started < until:
            request = b"%012d" % next(_NUMBERS) + _PADDING
            seen.wrong += await call(request) != request
            ended = time.perf_counter()
            seen.took_s.append(ended - started)
            started = ended

    await asyncio.gather(*(caller() for _ in range(at_once)))
    return seen


async def serve(transport: str, keys: Path) -> None:
    """Serves until nobody can ask any more for its port."""
    settings = ServiceSettings(
        app_env="production", host="127.0.0.1", grpc_port=0, health_port=0, metrics_port=0,
        identity_keys_dir=keys, multiplexed=transport == SHARED,
    )  # fmt: skip
    async with open_server(
        settings, service_name="memory", full_service_names=[_SERVICE], register=_add_methods
    ) as server:
        settle_garbage_collector()
        async for _ in questions():
            answer(server.port)


async def ask(transport: str, keys: Path, port: str) -> None:
    """Takes a round for each question: so many calls at once, for so many seconds."""
    signer = IdentitySigner("gateway", keys / "gateway.pem")
    is_shared = transport == SHARED
    async with open_channel(f"127.0.0.1:{port}", audience="memory", signer=signer, multiplexed=is_shared) as channel:
        settle_garbage_collector()
        with acting_as(_IDENTITY):
            async for at_once, seconds in questions():
                await _settle(channel, int(at_once), is_shared=is_shared)
                answer(await _measure(channel, int(at_once), float(seconds), is_shared=is_shared))


async def _measure(channel: aio.Channel, at_once: int, seconds: float, *, is_shared: bool) -> dict[str, float]:
    cpu_s, shared = await _cpu_s(channel), _sent_shared()
    seen = await echo_for(_method(channel, "Echo"), at_once, seconds)
    calls, shared = len(seen.took_s), _sent_shared() - shared
    cpu_s = await _cpu_s(channel) - cpu_s
    return {
        "calls": calls,
        "wrong": seen.wrong,
        "astray": calls - shared if is_shared else shared,
        "p50_us": 1e6 * statistics.median(seen.took_s),
        "cpu_us": 1e6 * cpu_s / calls,
    }


async def _settle(channel: aio.Channel, at_once: int, *, is_shared: bool) -> None:
    """Lets calls run until they go where they are to go."""
    echo = _method(channel, "Echo")
    async with asyncio.timeout(_SETTLED_WITHIN_S):
        while True:
            before = _sent_shared()
            await echo_for(echo, at_once, _WARM_UP_S)
            if not is_shared or _sent_shared() > before:
                return


async def _cpu_s(channel: aio.Channel) -> float:
    """Returns the CPU time of both ends so far."""
    (theirs,) = _SECONDS.unpack(await _method(channel, "CpuSeconds")(b""))
    return float(theirs) + time.process_time()


def _sent_shared() -> float:
    return REGISTRY.get_sample_value("flotilla_rpc_sent_total", {"transport": "shared"}) or 0.0


def _method(channel: aio.Channel, name: str) -> Any:
    return channel.unary_unary(f"/{_SERVICE}/{name}")


def _add_methods(server: aio.Server) -> None:
    async def echo(request: bytes, _: Any) -> bytes:
        return request

    async def cpu_seconds(_: bytes, __: Any) -> bytes:
        return _SECONDS.pack(time.process_time())

    methods: dict[str, Any] = {"Echo": echo, "CpuSeconds": cpu_seconds}
    handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))


def main() -> None:
    """Is one end until its standard input is closed."""
    end, transport, keys, *port = sys.argv[1:]
    uvloop.run({"serve": serve, "ask": ask}[end](transport, Path(keys), *port))  # type: ignore[operator]


if __name__ == "__main__":
    main()
