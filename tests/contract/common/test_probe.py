from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flotilla_common.health import Health
from flotilla_common.probe import main, serves_http


async def status_of(*arguments: str) -> int:
    """Returns the probe's exit status."""
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, list(arguments))
    return int(str(ended.value.code))


async def test_probe_follows_what_health_says() -> None:
    health = Health(["memory"])
    async with health.open_port("127.0.0.1", 0) as port:
        await health.set_serving(True)
        serving = await status_of("--grpc", str(port))
        await health.set_serving(False)
        draining = await status_of("--grpc", str(port))

    assert (serving, draining, await status_of("--grpc", str(port))) == (0, 1, 1)


@pytest.fixture
def http_port() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Writes nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("path", "status"), [("health", 0), ("ready", 1)])
async def test_probe_takes_success_alone_for_serving(http_port: int, path: str, status: int) -> None:
    assert await status_of("--http", f"{http_port}/{path}") == status


def test_probe_of_a_port_nobody_listens_on_is_not_serving() -> None:
    assert not serves_http(1, "/health")
