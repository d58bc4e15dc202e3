"""Runs the evaluator: `python -m flotilla_evaluator`."""

from __future__ import annotations

from flotilla.evaluator.v1.evaluator_service_pb2_grpc import add_EvaluatorServiceServicer_to_server
from flotilla_common.identity import IdentityVerifier
from flotilla_common.migrations import latest_version, require_schema
from flotilla_common.postgres import open_pool
from flotilla_common.serve import run, serve_grpc
from prometheus_client import REGISTRY

from flotilla_evaluator.metrics import EvaluatorMetrics
from flotilla_evaluator.scorers.answered import Answered
from flotilla_evaluator.scorers.grounded import Grounded
from flotilla_evaluator.scorers.tools_succeeded import ToolsSucceeded
from flotilla_evaluator.server import EvaluatorServicer
from flotilla_evaluator.service import EvaluatorService
from flotilla_evaluator.settings import EvaluatorSettings
from flotilla_evaluator.stores.postgres import PostgresObservationStore


async def main(settings: EvaluatorSettings) -> None:
    """Opens what the service needs and serves until it is told to stop."""
    async with open_pool(
        settings.database_url, min_size=settings.database_pool_min, max_size=settings.database_pool_max
    ) as pool:
        await require_schema(pool, "evaluator", latest_version("flotilla_evaluator"))
        service = EvaluatorService(
            store=PostgresObservationStore(pool),
            scorers=(Answered(), Grounded(), ToolsSucceeded()),
            metrics=EvaluatorMetrics(REGISTRY),
        )
        verifier = IdentityVerifier(settings.identity_keys_dir, "evaluator")
        await serve_grpc(
            settings,
            service_name="evaluator",
            full_service_names=["flotilla.evaluator.v1.EvaluatorService"],
            register=lambda server: add_EvaluatorServiceServicer_to_server(
                EvaluatorServicer(service, verifier), server
            ),
            verifier=verifier,
        )


if __name__ == "__main__":
    run(main, EvaluatorSettings, service_name="evaluator")
