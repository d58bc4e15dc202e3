"""Valkey on this machine: 127.0.0.1 only, with a password, nothing written to disk."""

import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from valkey import Valkey
from valkey.exceptions import ConnectionError as ValkeyConnectionError

from flotilla_cli.embedded.binaries import valkey_server
from flotilla_cli.embedded.ports import LOOPBACK


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
        """Says whether the server answers."""
        with Valkey.from_url(self.url(), socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except ValkeyConnectionError:
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


def wait_until_ready(server: EmbeddedValkey, timeout_s: float = 10.0) -> None:
    """Returns when the server answers; raises when it took too long."""
    deadline = time.monotonic() + timeout_s
    while not server.is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError("Valkey did not become ready")
        time.sleep(0.02)
