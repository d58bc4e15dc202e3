"""The HTTP server: uvicorn in this event loop, stopped by this process's own signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class HttpServer(uvicorn.Server):
    """A uvicorn that leaves signals alone: it would end the process by them before anything is closed."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, graceful_stop_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=True,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=int(graceful_stop_s),
                backlog=2048,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    def stop(self) -> None:
        """Stops accepting and lets streams finish; told twice, stops at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @property
    def bound_port(self) -> int:
        """The port it really has."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port


@asynccontextmanager
async def stopped_by_signals(server: HttpServer) -> AsyncIterator[None]:
    """Stops the server on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, server.stop)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
