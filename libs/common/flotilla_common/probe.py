"""A container's health check where no kubelet asks: exit status 0 while the process on this machine serves.

`python -m flotilla_common.probe --grpc 50052`, or `--http 8080/health`.
"""

from __future__ import annotations

import argparse
import sys
from http.client import HTTPConnection, HTTPException

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

TIMEOUT_S = 2.0
_HOST = "127.0.0.1"


def serves_grpc(port: int) -> bool:
    """Whether grpc.health.v1 on this port says SERVING."""
    with grpc.insecure_channel(f"{_HOST}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = HealthStub(channel).Check(  # type: ignore[attr-defined]  # its stubs name no method
                HealthCheckRequest(), timeout=TIMEOUT_S
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == HealthCheckResponse.SERVING)


def serves_http(port: int, path: str) -> bool:
    """Whether a GET of this path is answered with success."""
    connection = HTTPConnection(_HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return 200 <= connection.getresponse().status < 300
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main(arguments: list[str] | None = None) -> None:
    """Exits with status 1 if the process does not serve."""
    parser = argparse.ArgumentParser(prog="flotilla_common.probe", description="Ask whether the process serves.")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--grpc", type=int, metavar="PORT", help="the plaintext health port")
    way.add_argument("--http", metavar="PORT/PATH", help="an address of the HTTP server")
    given = parser.parse_args(arguments)
    if given.grpc is not None:
        is_serving = serves_grpc(given.grpc)
    else:
        port, _, path = given.http.partition("/")
        is_serving = serves_http(int(port), f"/{path}")
    sys.exit(0 if is_serving else 1)


if __name__ == "__main__":
    main()
