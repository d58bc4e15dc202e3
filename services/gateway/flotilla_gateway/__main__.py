"""Starts the gateway: `python -m flotilla_gateway`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from flotilla_common.serve import run, settle_garbage_collector

from flotilla_gateway.assembly import assemble
from flotilla_gateway.server import HttpServer, readiness_shown, stopped_by_signals
from flotilla_gateway.settings import GatewaySettings


async def main(settings: GatewaySettings) -> None:
    """Serves until SIGTERM or SIGINT."""
    async with AsyncExitStack() as stack:
        app, readiness = await assemble(settings, stack)
        server = HttpServer(
            app,
            host=settings.host,
            port=settings.http_port,
            graceful_stop_s=min(settings.graceful_stop_s, settings.drain_max_s),
            head_timeout_s=settings.head_timeout_s,
            trusted_proxies=settings.proxies(),
        )
        await stack.enter_async_context(stopped_by_signals(server))
        await stack.enter_async_context(readiness_shown(server, readiness))
        settle_garbage_collector()
        await server.serve()


if __name__ == "__main__":
    run(main, GatewaySettings, service_name="gateway")
