"""The inner services trust signed identities only: every method of their protos, asked on the running platform."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from fakes.running_platform import RunningPlatform
from flotilla.evaluator.v1 import evaluator_service_pb2
from flotilla.memory.v1 import memory_service_pb2
from flotilla.orchestrator.v1 import orchestrator_service_pb2
from flotilla.tool.v1 import tool_service_pb2
from flotilla_common.identity import Identity, IdentitySigner, generate_key_pair
from google.protobuf.descriptor import MethodDescriptor

SERVICES = {
    "orchestrator": orchestrator_service_pb2,
    "memory": memory_service_pb2,
    "tool": tool_service_pb2,
    "evaluator": evaluator_service_pb2,
}
METHODS = [
    pytest.param(service, method, id=f"{service}.{method.name}")
    for service, module in SERVICES.items()
    for declared in module.DESCRIPTOR.services_by_name.values()
    for method in declared.methods
]
SOMEBODY = Identity(tenant_id=uuid4(), user_id=uuid4())


@pytest.fixture(scope="module")
def forged_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forged")
    generate_key_pair(folder / "private", folder / "public")
    return folder / "private"


@pytest.fixture(scope="module")
def addresses(platform: RunningPlatform) -> dict[str, str]:
    return {service: f"127.0.0.1:{platform.processes(service)[0]['ports']['grpc']}" for service in SERVICES}


@pytest.mark.parametrize(("service", "method"), METHODS)
def test_method_refuses_whoever_brings_no_good_identity(
    platform: RunningPlatform, addresses: dict[str, str], forged_key: Path, service: str, method: MethodDescriptor
) -> None:
    bad = dict(_bad_tokens(platform, service, forged_key))

    with grpc.insecure_channel(addresses[service]) as channel:
        codes = {fault: _code_of(channel, method, token) for fault, token in bad.items()}

    assert codes == dict.fromkeys(bad, grpc.StatusCode.UNAUTHENTICATED)


@pytest.mark.parametrize("service", SERVICES)
def test_good_identity_is_let_in(platform: RunningPlatform, addresses: dict[str, str], service: str) -> None:
    (method, *_) = next(iter(SERVICES[service].DESCRIPTOR.services_by_name.values())).methods
    token = IdentitySigner("gateway", _private_key(platform)).sign(SOMEBODY, audience=service)

    with grpc.insecure_channel(addresses[service]) as channel:
        assert _code_of(channel, method, token) is not grpc.StatusCode.UNAUTHENTICATED


def _bad_tokens(platform: RunningPlatform, service: str, forged_key: Path) -> Iterator[tuple[str, str | None]]:
    key = _private_key(platform)
    elsewhere = next(other for other in SERVICES if other != service)
    yield "missing", None
    yield "not a token", f'{{"tenant":"{SOMEBODY.tenant_id}"}}'
    yield "another's key", IdentitySigner("gateway", forged_key).sign(SOMEBODY, audience=service)
    yield "another issuer's name", IdentitySigner("orchestrator", key).sign(SOMEBODY, audience=service)
    yield "wrong audience", IdentitySigner("gateway", key).sign(SOMEBODY, audience=elsewhere)
    with pytest.MonkeyPatch.context() as patch:
        then = time.time() - 120
        patch.setattr("time.time", lambda: then)
        yield "expired", IdentitySigner("gateway", key).sign(SOMEBODY, audience=service)


def _code_of(channel: grpc.Channel, method: MethodDescriptor, token: str | None) -> grpc.StatusCode:
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = (("x-flotilla-identity", token),) if token is not None else ()
    # Without serialisers bytes go as they are; an empty message is one of every type.
    ask: Any = channel.unary_stream(path) if method.server_streaming else channel.unary_unary(path)
    try:
        answer = ask(b"", metadata=metadata, timeout=10)
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def _private_key(platform: RunningPlatform) -> Path:
    return platform.home / "secrets" / "gateway.key"
