"""Who holds a port."""

from typing import Any

import psutil

from flotilla_cli.embedded.ports import is_free
from flotilla_cli.failure import CommandError


def require_free(port: int) -> None:
    """Raises CommandError naming the holder when the port is taken."""
    if not is_free(port):
        raise CommandError(
            f"port {port} is taken by {holder_of(port)}",
            hint=f"stop it, or choose another: flotilla up --port {port + 100}",
        )


def holder_of(port: int) -> str:
    """Returns the name and pid of the program that listens on the port, as far as we may see it."""
    pid = _listener(port)
    if pid is None:
        return "a program that this user may not see"
    try:
        process = psutil.Process(pid)
        return f"{_title(process)} (pid {pid}, user {process.username()})"
    except psutil.Error:
        return f"pid {pid}"


def _listener(port: int) -> int | None:
    try:
        found = [connection.pid for connection in psutil.net_connections(kind="tcp") if _is_listener(connection, port)]
    except psutil.AccessDenied:
        # macOS shows all connections to root only; our own processes remain.
        found = [process.pid for process in psutil.process_iter() if _listens(process, port)]
    return next((pid for pid in found if pid), None)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(_is_listener(connection, port) for connection in process.net_connections(kind="tcp"))
    except psutil.Error:
        return False


def _is_listener(connection: Any, port: int) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr.port == port)


def _title(process: psutil.Process) -> str:
    words = process.cmdline()
    return " ".join(words)[:80] if words else process.name()
