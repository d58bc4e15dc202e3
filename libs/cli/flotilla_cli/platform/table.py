"""The process table: what runs, and how one knows that it is ready."""

import sys
from signal import SIGTERM

from flotilla_cli.embedded.postgres import STOP_SIGNAL
from flotilla_cli.embedded.tether import tether
from flotilla_cli.platform.layout import MODEL, Platform
from flotilla_cli.platform.settings import process_environment, service_environment
from flotilla_cli.supervisor.readiness import blocking_check, grpc_check, http_check
from flotilla_cli.supervisor.spec import ProcessSpec

_LEAVES = ("memory", "tool", "evaluator")


def stores(platform: Platform) -> list[ProcessSpec]:
    """Returns Postgres and Valkey, which everything else needs."""
    return [_postgres(platform), _valkey(platform)]


def services(platform: Platform) -> list[list[ProcessSpec]]:
    """Returns the rest, callees before callers, so that stopping in the opposite order cuts nobody off."""
    model = [] if platform.plan.provider else [_development_model(platform)]
    leaves = [spec for service in _LEAVES for spec in _replicas(platform, service)]
    return [[*model, *leaves], _replicas(platform, "orchestrator"), _replicas(platform, "gateway")]


def _postgres(platform: Platform) -> ProcessSpec:
    server = platform.postgres
    return ProcessSpec(
        name="postgres",
        command=tuple(server.command()),
        is_ready=blocking_check(server.is_ready),
        environment=process_environment(platform),
        ports=platform.ports["postgres-1"],
        stop_signal=STOP_SIGNAL,
        stop_timeout_s=20,
        uid=server.uid(),
        gid=server.gid(),
    )


def _valkey(platform: Platform) -> ProcessSpec:
    return ProcessSpec(
        name="valkey",
        command=(*tether(SIGTERM), *platform.valkey.command()),
        is_ready=blocking_check(platform.valkey.is_ready),
        environment=process_environment(platform),
        ports=platform.ports["valkey-1"],
    )


def _development_model(platform: Platform) -> ProcessSpec:
    ports = platform.ports[f"{MODEL}-1"]
    return ProcessSpec(
        name=MODEL,
        command=(*_module("flotilla_llm.development"), "--port", str(ports["http"])),
        is_ready=http_check(ports["http"], "/v1/models"),
        environment=process_environment(platform),
        ports=ports,
    )


def _replicas(platform: Platform, service: str) -> list[ProcessSpec]:
    return [_service(platform, service, replica) for replica in range(1, platform.plan.count(service) + 1)]


def _service(platform: Platform, service: str, replica: int) -> ProcessSpec:
    ports = platform.ports[f"{service}-{replica}"]
    return ProcessSpec(
        name=service,
        replica=replica,
        command=_module(f"flotilla_{service}"),
        is_ready=http_check(ports["http"], "/ready") if "http" in ports else grpc_check(ports["health"]),
        environment=service_environment(platform, service, replica),
        ports=ports,
    )


def _module(name: str) -> tuple[str, ...]:
    return (*tether(SIGTERM), sys.executable, "-m", name)
