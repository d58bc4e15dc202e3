"""Runs the orchestrator: `python -m flotilla_orchestrator`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from flotilla.orchestrator.v1.orchestrator_service_pb2_grpc import add_OrchestratorServiceServicer_to_server
from flotilla_common.identity import IdentitySigner
from flotilla_common.ids import new_id
from flotilla_common.serve import run, serve_grpc
from flotilla_common.settings import load_settings
from flotilla_llm import open_models
from flotilla_llm.settings import ModelSettings

from flotilla_orchestrator.assembly import load_catalogue, open_lease_store, open_orchestrator, open_postgres_stores
from flotilla_orchestrator.clients.peers import open_peers
from flotilla_orchestrator.settings import OrchestratorSettings

FULL_NAME = "flotilla.orchestrator.v1.OrchestratorService"


async def main(settings: OrchestratorSettings) -> None:
    """Opens what the service needs and serves until it is told to stop."""
    agents = load_catalogue(settings)
    signer = IdentitySigner("orchestrator", settings.identity_private_key_file)
    targets = {"memory": settings.memory_target, "tool": settings.tool_target, "evaluator": settings.evaluator_target}
    async with AsyncExitStack() as stack:
        models = await stack.enter_async_context(open_models(load_settings(ModelSettings).routes()))
        stores = await stack.enter_async_context(open_postgres_stores(settings))
        peers = await stack.enter_async_context(open_peers(signer, **targets, multiplexed=settings.multiplexed))
        orchestrator = await stack.enter_async_context(
            open_orchestrator(
                settings,
                owner=new_id(),
                agents=agents,
                stores=stores,
                models=models,
                peers=peers,
                lease_store=partial(open_lease_store, settings.database_url),
            )
        )
        await serve_grpc(
            settings,
            service_name="orchestrator",
            full_service_names=[FULL_NAME],
            register=lambda server: add_OrchestratorServiceServicer_to_server(orchestrator.servicer, server),
            drain=orchestrator.engine.drain,
        )


if __name__ == "__main__":
    run(main, OrchestratorSettings, service_name="orchestrator")
