"""The evaluator as a process; it stands for the others in what all of them do before the schema is there."""

from __future__ import annotations

import secrets
from pathlib import Path
from uuid import uuid4

from fakes.servers import PostgresServer
from flotilla.evaluator.v1 import evaluator_service_pb2 as pb
from flotilla.evaluator.v1.evaluator_service_pb2_grpc import EvaluatorServiceStub
from flotilla_cli.embedded.provision import OWNER, provision_database, role_of
from flotilla_common.identity import Identity
from flotilla_common.migrations import migrate
from flotilla_common.request import acting_as
from flotilla_common.rpc.channel import open_channel
from integration.leaf_process import leaf_process, run_without_settings


async def test_process_serves_once_the_schema_is_there(postgres_server: PostgresServer, tmp_path: Path) -> None:
    name = f"test_evaluator_{secrets.token_hex(4)}"
    provision_database(postgres_server.superuser_url, name)
    role = role_of("evaluator")
    with leaf_process("evaluator", postgres_server.url(role, name), tmp_path) as running:
        before = running.health()
        migrate("flotilla_evaluator", "evaluator", url=postgres_server.url(OWNER, name), role=role)
        running.wait_until_serving()
        target = f"127.0.0.1:{running.grpc_port}"
        async with open_channel(target, audience="evaluator", signer=running.signer) as channel:
            with acting_as(Identity(uuid4(), uuid4())):
                observation = pb.Observation(run_id=str(uuid4()), agent="assistant")
                observed = await EvaluatorServiceStub(channel).Observe(pb.ObserveRequest(observation=observation))
        metrics = running.metrics()
        status = running.stop()

    assert before != "SERVING"
    assert observed.created
    assert 'flotilla_evaluator_observations_total{result="new"} 1.0' in metrics
    assert status == 0


def test_process_without_settings_names_them() -> None:
    ended = run_without_settings("evaluator")

    assert ended.returncode == 2
    assert "EVALUATOR_DATABASE_URL" in ended.stderr
