"""The tool service as a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from fakes.servers import ServiceDatabase
from flotilla.tool.v1 import tool_service_pb2 as pb
from flotilla.tool.v1.tool_service_pb2_grpc import ToolServiceStub
from flotilla_common.identity import Identity
from flotilla_common.request import acting_as
from flotilla_common.rpc.channel import open_channel
from integration.leaf_process import leaf_process, run_without_settings


async def test_process_serves_calculates_and_stops(database: Callable[[str], ServiceDatabase], tmp_path: Path) -> None:
    call = pb.Invocation(
        tool_call_id="c",
        name="calculator",
        arguments_json=b'{"expression": "17 % of 2,349"}',
        idempotency_key="k",
    )
    request = pb.InvokeBatchRequest(invocations=[call], allowed_tools=["calculator"], run_id=str(uuid4()))
    with leaf_process("tool", database("tool").url, tmp_path) as running:
        running.wait_until_serving()
        target = f"127.0.0.1:{running.grpc_port}"
        async with open_channel(target, audience="tool", signer=running.signer) as channel:
            with acting_as(Identity(uuid4(), uuid4())):
                response = await ToolServiceStub(channel).InvokeBatch(request)
        metrics = running.metrics()
        status = running.stop()

    assert response.results[0].content == "399.33"
    assert 'flotilla_tool_calls_total{outcome="succeeded",tool="calculator"} 1.0' in metrics
    assert 'flotilla_sweep_deleted_total{kind="results"} 0.0' in metrics
    assert status == 0


def test_process_without_settings_names_them() -> None:
    ended = run_without_settings("tool")

    assert ended.returncode == 2
    assert "TOOL_DATABASE_URL" in ended.stderr
