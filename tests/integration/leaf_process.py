"""A leaf service as the process that is deployed: `python -m flotilla_<service>`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from fakes.servers import free_ports
from flotilla_common.identity import IdentitySigner, generate_key_pair
from grpc_health.v1 import health_pb2, health_pb2_grpc

PATIENCE_S = 30.0


@dataclass
class LeafProcess:
    """A running process with its ports and an issuer that it trusts."""

    process: subprocess.Popen[bytes]
    grpc_port: int
    health_port: int
    metrics_port: int
    signer: IdentitySigner

    def health(self) -> str:
        """Returns what the process says of itself; UNREACHABLE before it serves and after it is gone."""
        with grpc.insecure_channel(f"127.0.0.1:{self.health_port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                return "UNREACHABLE"
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def wait_until_serving(self) -> None:
        """Returns when the process serves. Raises AssertionError when it ended or took too long."""
        give_up_at = time.monotonic() + PATIENCE_S
        while self.health() != "SERVING":
            assert self.process.poll() is None, f"the process ended with {self.process.returncode}"
            assert time.monotonic() < give_up_at, "the process does not serve"
            time.sleep(0.05)

    def metrics(self) -> str:
        """Returns what Prometheus would read."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def stop(self) -> int:
        """Sends SIGTERM and returns the exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@contextmanager
def leaf_process(
    service: str, database_url: str, folder: Path, *, extra: Mapping[str, str] | None = None
) -> Iterator[LeafProcess]:
    """Starts a service on free ports; kills what is left of it at the end."""
    keys = folder / "keys"
    keys.mkdir()
    for issuer in ("gateway", "orchestrator"):
        generate_key_pair(folder / f"{issuer}.pem", keys / f"{issuer}.pub")
    grpc_port, health_port, metrics_port = free_ports(3)
    prefix = service.upper()
    settings = {
        "APP_ENV": "test",
        f"{prefix}_HOST": "127.0.0.1",
        f"{prefix}_DATABASE_URL": database_url,
        f"{prefix}_IDENTITY_KEYS_DIR": str(keys),
        f"{prefix}_GRPC_PORT": str(grpc_port),
        f"{prefix}_HEALTH_PORT": str(health_port),
        f"{prefix}_METRICS_PORT": str(metrics_port),
        **(extra or {}),
    }
    command = [sys.executable, "-m", f"flotilla_{service}"]
    process = subprocess.Popen(command, env={**os.environ, **settings})
    try:
        signer = IdentitySigner("orchestrator", folder / "orchestrator.pem")
        yield LeafProcess(process, grpc_port, health_port, metrics_port, signer)
    finally:
        process.kill()
        process.wait()


def run_without_settings(service: str) -> subprocess.CompletedProcess[str]:
    """Starts a service with nothing set and returns how it ended."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(service.upper())}
    command = [sys.executable, "-m", f"flotilla_{service}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
