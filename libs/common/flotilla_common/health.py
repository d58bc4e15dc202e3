"""Health for kubelet and for clients' balancers: one status map, served on the data port and on a plaintext port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from grpc import aio
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from flotilla_common.listen import opening

SET_TIMEOUT_S = 1.0
_log = logging.getLogger(__name__)


class Health:
    """Says whether this process takes new work; it checks no dependency."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = ("", *names)
        # One servicer on both ports is what makes their answers one.
        self._servicer = health_aio.HealthServicer()
        self._listeners: list[Callable[[bool], None]] = []
        self.is_serving = False

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Has a function told what everybody is told, and before them."""
        self._listeners.append(listener)

    async def set_serving(self, serving: bool) -> None:
        """Tells everybody who asks or watches."""
        self.is_serving = serving
        for listener in self._listeners:
            listener(serving)
        status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        for name in self._names:
            try:
                # A watcher that does not read must not hold up the drain.
                async with asyncio.timeout(SET_TIMEOUT_S):
                    await self._servicer.set(name, status)
            except TimeoutError:
                _log.warning("a watcher of health does not read", extra={"health_name": name})

    def add_to(self, server: aio.Server) -> None:
        """Serves grpc.health.v1.Health on a server."""
        add_HealthServicer_to_server(self._servicer, server)

    @asynccontextmanager
    async def open_port(self, host: str, port: int) -> AsyncIterator[int]:
        """Serves health alone, in plain text, and yields the port; kubelet's probe speaks no TLS."""
        server = aio.server(options=[("grpc.so_reuseport", 0)])
        self.add_to(server)
        with opening(host, port) as address:
            bound = server.add_insecure_port(address)
        await server.start()
        try:
            yield bound
        finally:
            await server.stop(None)
