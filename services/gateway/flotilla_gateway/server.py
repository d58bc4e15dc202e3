"""The HTTP server: uvicorn in this event loop, stopped by this process's own signals."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import uvicorn
from flotilla_common.metrics import READY
from starlette.types import ASGIApp

from flotilla_gateway.connection import BoundedHttpProtocol
from flotilla_gateway.wires.operations.status import Readiness

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class HttpServer(uvicorn.Server):
    """A uvicorn that leaves signals alone: it would end the process by them before anything is closed.

    head_timeout_s: how long a request's line and headers may take to arrive.
    trusted_proxies: addresses and networks whose X-Forwarded-For and -Proto are believed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        graceful_stop_s: float,
        head_timeout_s: float,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=partial(BoundedHttpProtocol, head_timeout_s=head_timeout_s),  # type: ignore[arg-type]  # only called
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=list(trusted_proxies),
                timeout_keep_alive=75,
                timeout_graceful_shutdown=math.ceil(graceful_stop_s),
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
    def is_taking(self) -> bool:
        """Whether it accepts connections."""
        return self.started and not self.should_exit

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


@asynccontextmanager
async def readiness_shown(server: HttpServer, readiness: Readiness) -> AsyncIterator[None]:
    """Has the metric `flotilla_ready` say what /ready would, whether or not anybody asks it; a scrape asks nobody."""
    READY.set_function(lambda: server.is_taking and readiness.is_ready)
    watching = asyncio.create_task(readiness.watch(), name="watch readiness")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
