"""Opening a port, so that a taken one is said plainly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flotilla_common.errors import FailedPreconditionError


@contextmanager
def opening(host: str, port: int) -> Iterator[str]:
    """Yields the address to listen on; raises FailedPreconditionError if the block cannot open it."""
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    except (OSError, RuntimeError) as exc:
        # gRPC raises a bare RuntimeError for it, http.server an OSError.
        raise FailedPreconditionError(f"cannot listen on {host}:{port}", reason="port_taken") from exc
