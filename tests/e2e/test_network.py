"""Who can talk to whom: every service knocks at every port of every other pod."""

from __future__ import annotations

import json

import pytest

from e2e import figures
from e2e.images import SERVICES
from e2e.release import NAMESPACE, Release

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

_LEAVES = ("memory", "tool", "evaluator")
DECLARED = {
    *(("gateway", service, 50051) for service in ("orchestrator", *_LEAVES)),
    *(("orchestrator", service, 50051) for service in _LEAVES),
    *((service, "postgres", 5432) for service in SERVICES),
    *((service, "model", 8081) for service in ("orchestrator", "memory", "evaluator")),
    ("gateway", "valkey", 6379),
}
PORTS = {
    "gateway": (8080, 9090),
    **dict.fromkeys(("orchestrator", *_LEAVES), (50051, 50052, 9090)),
    "postgres": (5432,),
    "valkey": (6379,),
    "model": (8081,),
}
_KNOCK = """
import concurrent.futures, json, socket, sys
def knock(door):
    try:
        socket.create_connection((door[1], door[2]), timeout=3).close()
        return True
    except OSError:
        return False
doors = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps([door for door, is_open in zip(doors, pool.map(knock, doors)) if is_open]))
"""


def test_only_declared_edges_connect(release: Release) -> None:
    addresses = {component: release.pods(component)[0]["status"]["podIP"] for component in PORTS}
    api = release.node.get("--namespace", "default", "service", "kubernetes")["spec"]["clusterIP"]
    connected = set()

    for service in SERVICES:
        doors = [(target, addresses[target], port) for target in PORTS if target != service for port in PORTS[target]]
        doors += [("kubernetes", api, 443), ("metadata", "169.254.169.254", 80)]
        knock = ("python", "-c", _KNOCK, json.dumps(doors))
        opened = json.loads(
            release.kubectl("exec", f"deployment/{release.workload(service)}", "-c", service, "--", *knock)
        )
        connected |= {(service, target, port) for target, _, port in opened}

    figures.note("network policy", {"edges that connect": len(connected), "edges that are declared": len(DECLARED)})
    assert connected == DECLARED


def test_a_stranger_in_the_namespace_reaches_nothing_but_the_gateway(release: Release) -> None:
    addresses = {component: release.pods(component)[0]["status"]["podIP"] for component in PORTS}
    doors = [(target, address, port) for target, address in addresses.items() for port in PORTS[target]]
    image = release.pods("gateway")[0]["spec"]["containers"][0]["image"]
    restricted = {
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "stranger",
                    "image": image,
                    "command": ["python", "-c", _KNOCK, json.dumps(doors)],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        }
    }

    said = release.kubectl(
        *("run", "stranger", f"--image={image}", "--restart=Never", "--rm", "--attach", "--quiet"),
        f"--overrides={json.dumps(restricted)}",
    )

    opened = {(target, port) for target, _, port in json.loads(said.splitlines()[0])}
    assert opened == {("gateway", 8080)}, f"in {NAMESPACE}"
