"""Runs the memory service: `python -m flotilla_memory`."""

from __future__ import annotations

from flotilla.memory.v1.memory_service_pb2_grpc import add_MemoryServiceServicer_to_server
from flotilla_common.identity import IdentityVerifier
from flotilla_common.migrations import latest_version, require_schema
from flotilla_common.postgres import open_pool
from flotilla_common.serve import run, serve_grpc
from flotilla_common.settings import load_settings
from flotilla_llm import ModelClient, open_models
from flotilla_llm.settings import ModelSettings
from prometheus_client import REGISTRY

from flotilla_memory.metrics import MemoryMetrics
from flotilla_memory.recall.embedder import Embedder
from flotilla_memory.server import MemoryServicer
from flotilla_memory.service import MemoryService
from flotilla_memory.settings import MemorySettings
from flotilla_memory.stores.postgres import PostgresMemoryStore


async def main(settings: MemorySettings) -> None:
    """Opens what the service needs and serves until it is told to stop."""
    routes = load_settings(ModelSettings).routes()
    async with (
        open_models(routes) as models,
        open_pool(
            settings.database_url,
            min_size=settings.database_pool_min,
            max_size=settings.database_pool_max,
            plans_once=True,
        ) as pool,
    ):
        await require_schema(pool, "memory", latest_version("flotilla_memory"))
        service = MemoryService(
            store=PostgresMemoryStore(pool),
            embedder=_embedder(models, settings) if settings.embedding_route in routes.routes else None,
            policy=settings.recall_policy(),
            metrics=MemoryMetrics(REGISTRY),
        )
        verifier = IdentityVerifier(settings.identity_keys_dir, "memory")
        await serve_grpc(
            settings,
            service_name="memory",
            full_service_names=["flotilla.memory.v1.MemoryService"],
            register=lambda server: add_MemoryServiceServicer_to_server(MemoryServicer(service, verifier), server),
            verifier=verifier,
        )


def _embedder(models: ModelClient, settings: MemorySettings) -> Embedder:
    return Embedder(models, route=settings.embedding_route, longest_text=settings.embedding_longest_text)


if __name__ == "__main__":
    run(main, MemorySettings, service_name="memory")
