"""The preStop hook: `python -m flotilla_common.drain [--port 9090]`.

Asks the process on this machine, through its metrics port, to stop taking work, and returns when the process has let
go of what it had or has waited its longest (its own drain_max_s). Always exits 0: a failed hook would only be skipped.
"""

from __future__ import annotations

import argparse
import sys
from http.client import HTTPConnection, HTTPException

from flotilla_common.metrics import DRAIN_PATH

DEFAULT_PORT = 9090
DEFAULT_MAX_S = 3600.0


def request_drain(port: int, *, max_s: float = DEFAULT_MAX_S, host: str = "127.0.0.1") -> str:
    """Drains the process whose metrics port this is and returns what it says; raises OSError if nobody answers."""
    connection = HTTPConnection(host, port, timeout=max_s)
    try:
        connection.request("POST", DRAIN_PATH)
        return connection.getresponse().read().decode().strip()
    finally:
        connection.close()


def main(arguments: list[str] | None = None) -> None:
    """Drains and says how it went."""
    parser = argparse.ArgumentParser(prog="flotilla_common.drain", description="Drain the process on this machine.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="its metrics port (default: %(default)s)")
    parser.add_argument("--max-s", type=float, default=DEFAULT_MAX_S, help="give up after this many seconds")
    given = parser.parse_args(arguments)
    try:
        sys.stdout.write(f"{request_drain(given.port, max_s=given.max_s)}\n")
    except (OSError, HTTPException) as exc:
        sys.stdout.write(f"nothing to drain on port {given.port}: {exc}\n")


if __name__ == "__main__":
    main()
