"""The memory service as a process, without a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from fakes.servers import ServiceDatabase
from flotilla.common.v1 import message_pb2
from flotilla.memory.v1 import memory_service_pb2 as pb
from flotilla.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from flotilla_common.identity import Identity
from flotilla_common.request import acting_as
from flotilla_common.rpc.channel import open_channel
from integration.leaf_process import leaf_process, run_without_settings

NO_MODEL = {
    "FLOTILLA_MODEL_BASE_URL": "http://127.0.0.1:9/v1",
    "FLOTILLA_MODEL_NAME": "flotilla-dev",
    "FLOTILLA_EMBEDDING_MODEL": "",
}


async def test_process_serves_recalls_by_words_without_an_embedding_model_and_stops(
    database: Callable[[str], ServiceDatabase], tmp_path: Path
) -> None:
    turn = pb.CommitTurnRequest(
        run_id=str(uuid4()),
        messages=[message_pb2.Message(role=message_pb2.MESSAGE_ROLE_HUMAN, content="My favourite colour is teal.")],
    )
    with leaf_process("memory", database("memory").url, tmp_path, extra=NO_MODEL) as running:
        running.wait_until_serving()
        target = f"127.0.0.1:{running.grpc_port}"
        async with open_channel(target, audience="memory", signer=running.signer) as channel:
            stub = MemoryServiceStub(channel)
            with acting_as(Identity(uuid4(), uuid4())):
                committed = await stub.CommitTurn(turn)
                loaded = await stub.LoadContext(pb.LoadContextRequest(question="What is my favourite colour?"))
        metrics = running.metrics()
        status = running.stop()

    assert committed.created
    assert [memory.text for memory in loaded.memories] == ["User: My favourite colour is teal."]
    assert 'flotilla_memory_stored_total{kind="episode",result="new"} 1.0' in metrics
    assert status == 0


def test_process_without_settings_names_them() -> None:
    ended = run_without_settings("memory")

    assert ended.returncode == 2
    assert "MEMORY_DATABASE_URL" in ended.stderr
