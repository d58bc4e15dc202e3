"""Runs a process: settings, logs, traces and event loop around it, and for a gRPC service the server itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop
from grpc import aio
from grpc_reflection.v1alpha import reflection

from flotilla_common.errors import FlotillaError
from flotilla_common.health import Health
from flotilla_common.identity import IdentityVerifier
from flotilla_common.lifecycle import Lifecycle, Work, termination
from flotilla_common.listen import opening
from flotilla_common.logs import configure_logs
from flotilla_common.metrics import READY, serve_metrics
from flotilla_common.rpc.multiplex.server_stream import ServedStreams
from flotilla_common.rpc.server import DEFAULT_TIMEOUT_S, ServerInterceptor, create_server
from flotilla_common.settings import ProcessSettings, ServiceSettings, load_settings
from flotilla_common.telemetry import telemetry

STOP_GRACE_S = 1.0
"""After the drain only watchers of health are left; they get a moment to go."""
SettingsT = TypeVar("SettingsT", bound=ProcessSettings)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that takes calls, and the ports it really has."""

    port: int
    health_port: int
    metrics_port: int
    lifecycle: Lifecycle
    health: Health


def run(
    main: Callable[[SettingsT], Coroutine[Any, Any, None]], settings_class: type[SettingsT], *, service_name: str
) -> None:
    """Runs a process to its end: exit status 2 for wrong settings, 1 if it cannot start or fails."""
    settings = load_settings(settings_class)
    configure_logs(settings, service_name)
    with telemetry(settings, service_name):
        try:
            uvloop.run(main(settings))
        except FlotillaError as exc:
            _log.critical("the process cannot go on", exc_info=exc, extra={"reason": exc.reason})
            sys.exit(1)


async def serve_grpc(
    settings: ServiceSettings,
    *,
    service_name: str,
    full_service_names: Sequence[str],
    register: Callable[[aio.Server], None],
    drain: Callable[[], Awaitable[None]] | None = None,
    verifier: IdentityVerifier | None = None,
    default_timeout_s: float = DEFAULT_TIMEOUT_S,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains and stops; a second signal stops at once.

    register: adds the servicers, such as `lambda server: add_MemoryServiceServicer_to_server(servicer, server)`.
    drain: hands back what the service itself holds; called when no new work comes any more.
    verifier: of callers' tokens, given by a service that also reads tokens in messages, so that both share its cache.
    """
    async with open_server(
        settings,
        service_name=service_name,
        full_service_names=full_service_names,
        register=register,
        drain=drain,
        verifier=verifier,
        default_timeout_s=default_timeout_s,
    ) as server:
        settle_garbage_collector()
        async with termination(server.lifecycle) as stop:
            await stop.wait()


@asynccontextmanager
async def open_server(
    settings: ServiceSettings,
    *,
    service_name: str,
    full_service_names: Sequence[str],
    register: Callable[[aio.Server], None],
    drain: Callable[[], Awaitable[None]] | None = None,
    verifier: IdentityVerifier | None = None,
    default_timeout_s: float = DEFAULT_TIMEOUT_S,
) -> AsyncIterator[RunningServer]:
    """Starts the server with interceptors, health on both ports and metrics; stops it on leaving, without a drain."""
    health = Health((service_name, *full_service_names))
    health.on_change(READY.set)
    await health.set_serving(False)
    closing: list[asyncio.Task[None]] = []

    async def let_go() -> None:
        # NOT_SERVING moves calls to peers that clients know already. Only a connection that says goodbye makes them
        # resolve the name again and find those that came later; calls that are on it go on to their end.
        closing.append(asyncio.create_task(server.stop(settings.drain_max_s), name="close connections"))
        if drain is not None:
            await drain()

    lifecycle = Lifecycle(
        work=Work(),
        drain_max_s=settings.drain_max_s,
        stop_taking=lambda: health.set_serving(False),
        drain=let_go,
    )
    verifier = verifier or IdentityVerifier(settings.identity_keys_dir, service_name)
    streams = ServedStreams(verifier)
    health.on_change(streams.set_taking)
    interceptor = ServerInterceptor(
        verifier,
        lifecycle.work,
        default_timeout_s=default_timeout_s,
        reflection=settings.reflection,
        streams=streams if settings.multiplexed else None,
    )
    server = create_server(interceptor, drain_max_s=settings.drain_max_s)
    register(server)
    health.add_to(server)
    if settings.reflection:
        reflection.enable_server_reflection([*full_service_names, reflection.SERVICE_NAME], server)
    with opening(settings.host, settings.grpc_port) as address:
        port = server.add_insecure_port(address)
    async with (
        health.open_port(settings.host, settings.health_port) as health_port,
        serve_metrics(settings.metrics_port, settings.host, lifecycle) as metrics_port,
        _started(server, health, closing),
    ):
        _log.info("serving", extra={"port": port, "health_port": health_port, "metrics_port": metrics_port})
        yield RunningServer(port, health_port, metrics_port, lifecycle, health)


def settle_garbage_collector() -> None:
    """Takes what exists after start-up out of the collector's sight and makes it run seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@asynccontextmanager
async def _started(server: aio.Server, health: Health, closing: Collection[asyncio.Task[None]]) -> AsyncIterator[None]:
    await server.start()
    await health.set_serving(True)
    try:
        yield
    finally:
        await health.set_serving(False)
        await asyncio.shield(server.stop(STOP_GRACE_S))
        await asyncio.gather(*closing)
