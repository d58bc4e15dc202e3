"""Valkey on this machine: 127.0.0.1 only, with a password, nothing written to disk."""

import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from flotilla_cli.embedded.binaries import valkey_server
from flotilla_cli.embedded.ports import LOOPBACK

_READY = b"+OK\r\n+PONG\r\n"


@dataclass(frozen=True, slots=True)
class EmbeddedValkey:
    """One Valkey server whose configuration lies in a folder of ours."""

    folder: Path
    port: int
    password: str

    def configure(self) -> None:
        """Writes the configuration file; the password stays out of the process list."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._config_file()
        file.touch(mode=0o600)
        file.write_text("\n".join(self._settings()) + "\n")

    def command(self) -> list[str]:
        """Returns the command that runs the server in the foreground."""
        return [str(valkey_server()), str(self._config_file())]

    def url(self) -> str:
        """Returns the connection URL."""
        return f"redis://:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/0"

    def is_ready(self) -> bool:
        """Says whether the server answers; by hand, because a client library takes longer to load than to start it."""
        request = f"AUTH default {self.password}\r\nPING\r\n".encode()
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=2) as connection:
                connection.sendall(request)
                return _read(connection, len(_READY)) == _READY
        except OSError:
            return False

    def _config_file(self) -> Path:
        return self.folder / "valkey.conf"

    def _settings(self) -> list[str]:
        return [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.folder}"',
            'save ""',
            "appendonly no",
            "daemonize no",
            "maxmemory 128mb",
            "maxmemory-policy allkeys-lru",
            "loglevel notice",
        ]


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size and (part := connection.recv(size - len(received))):
        received += part
    return received
