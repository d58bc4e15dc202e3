"""A real server with whatever methods a test gives it, and what is needed to call it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from flotilla_common.identity import Identity
from flotilla_common.serve import RunningServer
from flotilla_common.settings import ServiceSettings
from grpc import aio
from prometheus_client import REGISTRY
from pydantic_settings import SettingsConfigDict

SERVICE = "flotilla.test.v1.TestService"
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


async def until(condition: Callable[[], bool], within_s: float = 2.0) -> None:
    """Waits until a condition holds, looking again whenever the loop has run."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.005)


def metric(name: str, **labels: str) -> float:
    """Returns the value of a metric, 0 if it has none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
