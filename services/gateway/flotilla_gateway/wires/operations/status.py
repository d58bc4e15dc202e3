"""`/ok`, `/info`, `/health`, `/ready`: whether and how this gateway works. Nobody needs a key for them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

Probe = Callable[[], Awaitable[object]]
_PROBE_TIMEOUT_S = 2.0
_WATCH_INTERVAL_S = 3.0
_BELIEVED_S = 10.0
"""An answer as old as this says nothing any more: the event loop stands still, or nobody watches."""


class Readiness:
    """Asks each dependency how it is. Only what no request can do without makes the gateway unready."""

    def __init__(
        self, needed: Mapping[str, Probe], useful: Mapping[str, Probe], *, is_draining: Callable[[], bool]
    ) -> None:
        self._probes = {**needed, **useful}
        self._needed = frozenset(needed)
        self._is_draining = is_draining
        self._ready_until = -math.inf

    @property
    def is_ready(self) -> bool:
        """Whether the last report said ready. It asks nobody and may be read in any thread.

        While `watch` runs, a dependency that goes or comes back shows within 5 s (the interval and a probe's time-out),
        a drain at once, and an event loop that stands still after 10 s.
        """
        return time.monotonic() < self._ready_until and not self._is_draining()

    async def watch(self) -> None:
        """Reports every few seconds until it is cancelled, so that `is_ready` is right also while nobody asks."""
        while True:
            await self.report()
            await asyncio.sleep(_WATCH_INTERVAL_S)

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Returns whether the gateway is ready, and each dependency's state and latency."""
        found = await asyncio.gather(*(_ask(probe) for probe in self._probes.values()))
        dependencies = dict(zip(self._probes, found, strict=True))
        draining = self._is_draining()
        up = all(dependencies[name]["state"] == "up" for name in self._needed)
        self._ready_until = time.monotonic() + _BELIEVED_S if up else -math.inf
        status = "draining" if draining else "ready" if up else "unready"
        return up and not draining, {"status": status, "dependencies": dependencies}


def status_routes(readiness: Readiness) -> APIRouter:
    """Returns the routes."""
    router = APIRouter(tags=["Status"])

    @router.get("/ok")
    async def ok() -> dict[str, bool]:
        """Says that the server answers."""
        return {"ok": True}

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Says that the process lives; asks no dependency."""
        return {"status": "ok"}

    @router.get("/info")
    async def info() -> dict[str, Any]:
        """Returns what runs here."""
        return {"name": "flotilla", "version": version("flotilla-gateway"), "wires": ["openai"]}

    @router.get("/ready", responses={503: {"description": "A dependency is away, or the process is going."}})
    async def ready() -> JSONResponse:
        """Says whether requests can be served, and each dependency's state and latency."""
        is_ready, report = await readiness.report()
        return JSONResponse(report, status_code=200 if is_ready else 503)

    return router


async def _ask(probe: Probe) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            await probe()
        state = "up"
    except Exception:  # noqa: BLE001  # whatever is wrong with a dependency, the report says so
        state = "down"
    return {"state": state, "latency_ms": round((time.perf_counter() - began) * 1000, 2)}
