"""How one knows that a process is ready: it answers on its own wire."""

import asyncio
from collections.abc import Callable

from flotilla_cli.embedded.ports import LOOPBACK
from flotilla_cli.supervisor.spec import Check

_TIMEOUT_S = 5.0
_SUCCESS = b"2"


def http_check(port: int, path: str) -> Check:
    """Ready when a GET is answered with 2xx."""

    async def check() -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await _status_class(port, path) == _SUCCESS
        except (OSError, TimeoutError):
            return False

    return check


def grpc_check(port: int) -> Check:
    """Ready when `grpc.health.v1` says SERVING for the whole server."""

    async def check() -> bool:
        if not await _listens(port):
            return False
        # Loaded only when there is a server to ask; it takes as long as starting Postgres.
        from flotilla_cli.supervisor.grpc_health import is_serving

        return await is_serving(f"{LOOPBACK}:{port}")

    return check


def blocking_check(question: Callable[[], bool]) -> Check:
    """Ready when a function that may block says so; it runs beside the loop."""

    async def check() -> bool:
        return await asyncio.to_thread(question)

    return check


async def _status_class(port: int, path: str) -> bytes:
    """Returns the first digit of the status. By hand: an HTTP client would load certificates at every poll."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
        _, _, status = (await reader.readline()).partition(b" ")
    finally:
        writer.close()
    return status[:1]


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
