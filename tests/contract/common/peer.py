"""A real server with whatever methods a test gives it, and what is needed to call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flotilla_common.identity import Identity, IdentitySigner
from flotilla_common.request import current_identity
from flotilla_common.rpc.channel import Channel, open_channel
from flotilla_common.rpc.multiplex.sharing import ShortStreams
from flotilla_common.rpc.multiplex.streams import CallStreams
from flotilla_common.serve import RunningServer
from flotilla_common.settings import ServiceSettings
from grpc import aio
from prometheus_client import REGISTRY
from pydantic_settings import SettingsConfigDict

SERVICE = "flotilla.test.v1.TestService"
SHORT_STREAMS: ShortStreams = {f"/{SERVICE}/Stream": lambda _: True}
IDENTITY = Identity(uuid4(), uuid4(), scopes=frozenset({"chat"}))


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TEST_SERVICE_")


@dataclass
class Peer:
    """A server and the calls one can make to it; requests and answers are bytes."""

    server: RunningServer
    channel: aio.Channel
    Unary: Any = field(init=False)
    Stream: Any = field(init=False)
    Collect: Any = field(init=False)
    Talk: Any = field(init=False)

    def __post_init__(self) -> None:
        self.Unary = self.channel.unary_unary(f"/{SERVICE}/Unary")
        self.Stream = self.channel.unary_stream(f"/{SERVICE}/Stream")
        self.Collect = self.channel.stream_unary(f"/{SERVICE}/Collect")
        self.Talk = self.channel.stream_stream(f"/{SERVICE}/Talk")


Serve = Callable[..., Awaitable[Peer]]


async def echo(request: bytes, context: Any) -> bytes:
    """A method that answers what it was asked."""
    return request


class Stuck:
    """A method that never answers."""

    def __init__(self) -> None:
        self.running = 0

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1
        return b""


class Roll:
    """Methods that note for whom each request is served."""

    def __init__(self) -> None:
        self.served: dict[bytes, Identity] = {}

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.served[request] = current_identity()
        return request

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await self.unary(request, context)


class Silent:
    """Adds nothing of ours to a call."""

    def metadata(self, given: Any, span: Any) -> Any:
        return given

    def identity(self, given: Any) -> None:
        return None

    def signed(self, metadata: Any, identity: None) -> Any:
        return metadata

    def begin_session(self) -> None:
        return None

    def timeout_s(self, given: float | None, *, answers_once: bool) -> float | None:
        return given


@dataclass(frozen=True)
class Transport:
    """Over what calls go: a stream of gRPC for each, or streams that they share."""

    is_shared: bool

    def open(self, target: str, signer: IdentitySigner | None) -> AbstractAsyncContextManager[aio.Channel]:
        """Opens a channel as services do."""
        return open_channel(
            target, audience="memory", signer=signer, multiplexed=self.is_shared, short_streams=SHORT_STREAMS
        )

    @asynccontextmanager
    async def bare(self, port: int) -> AsyncIterator[Any]:
        """Opens a channel that adds nothing of ours to a call."""
        async with bare_channel(port) as plain:
            if not self.is_shared:
                yield plain
                return
            outgoing: Any = Silent()
            async with Channel(plain, outgoing, CallStreams(plain, outgoing), SHORT_STREAMS) as channel:
                await self.settle(channel)
                yield channel

    async def settle(self, channel: Any) -> None:
        """Waits until calls go where they are to go."""
        if self.is_shared:
            async with asyncio.timeout(10):
                while not await _goes_shared(channel):  # noqa: ASYNC110 - a stream that is up sends no event
                    await asyncio.sleep(0.005)


async def _goes_shared(channel: Any) -> bool:
    before = sent("shared")
    with pytest.raises(aio.AioRpcError):
        await channel.unary_unary("/flotilla.test.v1.Nobody/Nothing")(b"", timeout=5)
    return sent("shared") == before + 1


def sent(transport: str) -> float:
    """Returns how many calls went over a transport."""
    return metric("flotilla_rpc_sent_total", transport=transport)


def settings(keys: Path, **changes: Any) -> Settings:
    """Returns settings with ports of the system's choice."""
    given = {"app_env": "test", "host": "127.0.0.1", "grpc_port": 0, "health_port": 0, "metrics_port": 0}
    return Settings(**{**given, "identity_keys_dir": keys, **changes})


def bare_channel(port: int) -> Any:
    """Returns a channel that adds nothing of ours to a call."""
    return aio.insecure_channel(f"127.0.0.1:{port}")


async def all_of(answers: Any) -> list[Any]:
    """Returns the answers of a stream."""
    return [answer async for answer in answers]


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Waits until a condition holds, looking again whenever the loop has run."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.005)


def metric(name: str, **labels: str) -> float:
    """Returns the value of a metric, 0 if it has none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
