"""Prometheus metrics on a port of their own, and the drain that preStop asks for beside them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import Gauge, make_wsgi_app

from flotilla_common.lifecycle import Lifecycle
from flotilla_common.listen import opening

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

DRAIN_PATH = "/drain"
METRICS_PATH = "/metrics"
READY = Gauge(
    "flotilla_ready", "1 while this process says that it takes new work, 0 before, during the drain and after."
)
"""What a balancer is told, for those who look at numbers; 0 from the first scrape on until the process says more."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Writes nothing: a scrape every few seconds is no news."""


@asynccontextmanager
async def serve_metrics(port: int, host: str, lifecycle: Lifecycle | None = None) -> AsyncIterator[int]:
    """Serves `/metrics`, and with a lifecycle `POST /drain` for this machine only; yields the port.

    It runs in threads, so that a scrape neither waits for nor holds up the event loop.
    """
    app = _application(asyncio.get_running_loop(), lifecycle)
    with opening(host, port):
        kind = _ServerOnIPv6 if ":" in host else _Server
        server = make_server(host, port, app, server_class=kind, handler_class=_SilentHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


def _application(loop: asyncio.AbstractEventLoop, lifecycle: Lifecycle | None) -> WSGIApplication:
    metrics = make_wsgi_app()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == METRICS_PATH:
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        if environ["PATH_INFO"] == DRAIN_PATH and lifecycle is not None:
            return _answer_drain(environ, start_response, lambda: _drain(loop, lifecycle))
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not found\n"]

    return app


def _answer_drain(environ: WSGIEnvironment, start_response: StartResponse, drain: Callable[[], bool]) -> list[bytes]:
    headers = [("Content-Type", "text/plain")]
    if environ["REQUEST_METHOD"] != "POST":
        start_response("405 Method Not Allowed", [*headers, ("Allow", "POST")])
        return [b"POST only\n"]
    if not _is_loopback(environ["REMOTE_ADDR"]):
        # Whoever may scrape must not be able to switch the process off.
        start_response("403 Forbidden", headers)
        return [b"from this machine only\n"]
    is_done = drain()
    start_response("200 OK", headers)
    return [b"drained\n" if is_done else b"work is left\n"]


def _is_loopback(address: str) -> bool:
    known = ip_address(address)
    # How a socket of both families names an IPv4 caller.
    mapped = known.ipv4_mapped if isinstance(known, IPv6Address) else None
    return (mapped or known).is_loopback


def _drain(loop: asyncio.AbstractEventLoop, lifecycle: Lifecycle) -> bool:
    return asyncio.run_coroutine_threadsafe(lifecycle.drain(), loop).result()
