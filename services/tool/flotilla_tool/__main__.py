"""Runs the tool service: `python -m flotilla_tool`."""

from __future__ import annotations

from flotilla.tool.v1.tool_service_pb2_grpc import add_ToolServiceServicer_to_server
from flotilla_common.migrations import latest_version, require_schema
from flotilla_common.postgres import open_pool
from flotilla_common.serve import run, serve_grpc
from flotilla_common.sweeps import SweepMetrics, sweeping
from prometheus_client import REGISTRY

from flotilla_tool.metrics import ToolMetrics
from flotilla_tool.server import ToolServicer
from flotilla_tool.service import ToolService
from flotilla_tool.settings import ToolSettings
from flotilla_tool.stores.janitor import Janitor
from flotilla_tool.stores.postgres import PostgresLedger
from flotilla_tool.tools.calculator import Calculator
from flotilla_tool.tools.clock import Clock
from flotilla_tool.tools.registry import ToolRegistry
from flotilla_tool.tools.runner import ToolRunner

_DAY_S = 24 * 3600.0


async def main(settings: ToolSettings) -> None:
    """Opens what the service needs and serves until it is told to stop."""
    registry = ToolRegistry([Calculator(), Clock()])
    least, most = settings.database_pool_min, settings.database_pool_max
    async with (
        open_pool(settings.database_url, min_size=least, max_size=most) as pool,
        open_pool(settings.database_url, min_size=0, max_size=1, system=True) as system,
    ):
        await require_schema(pool, "tool", latest_version("flotilla_tool"))
        service = ToolService(
            registry=registry,
            ledger=PostgresLedger(pool),
            runner=ToolRunner(result_cap_bytes=settings.result_cap_bytes),
            metrics=ToolMetrics(REGISTRY),
        )
        janitor = Janitor(system, SweepMetrics(REGISTRY), kept_s=settings.results_kept_days * _DAY_S)
        async with sweeping([janitor.results], interval_s=settings.janitor_interval_s):
            await serve_grpc(
                settings,
                service_name="tool",
                full_service_names=["flotilla.tool.v1.ToolService"],
                register=lambda server: add_ToolServiceServicer_to_server(ToolServicer(service), server),
                drain=service.finish,
            )


if __name__ == "__main__":
    run(main, ToolSettings, service_name="tool")
