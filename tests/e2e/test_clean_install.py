"""The chart on a namespace that enforces `restricted`: installed, used, and upgraded to what it is already."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e import figures
from e2e.command import must
from e2e.edge import Edge, chat_body, counted, counting
from e2e.images import SERVICES, layers, sizes_mb
from e2e.release import NAME, NAMESPACE, Release, ready_after_s, restarts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

_LOOK = """
import json, os, pathlib
def can_write():
    try:
        pathlib.Path("/opt/flotilla/mark").write_text("")
    except OSError:
        return False
    return True
peak = [line for line in pathlib.Path("/proc/1/status").read_text().splitlines() if line.startswith("VmRSS")]
print(json.dumps({
    "user": os.getuid(), "can write": can_write(), "has a token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "capabilities": int(pathlib.Path("/proc/1/status").read_text().split("CapEff:")[1].split()[0], 16),
    "memory": int(peak[0].split()[1]) // 1024,
}))
"""


def test_install_is_ready_within_three_minutes(release: Release) -> None:
    pods = {service: release.pods(service)[0] for service in SERVICES}
    figures.note(
        "pods", {"from start to ready, seconds": {service: ready_after_s(pods[service]) for service in SERVICES}}
    )
    figures.note("pods", {"idle memory, MB": {service: _look(release, service)["memory"] for service in SERVICES}})

    assert release.install_s < 180
    assert restarts(release.pods()) == 0


def test_chat_through_the_ingress_is_answered(edge: Edge) -> None:
    reply = edge.post("/v1/chat/completions", chat_body(counting(20), stream=False))

    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"].split() == counted(20)


def test_helm_test_is_green(release: Release) -> None:
    must(release.node.helm("test", NAME, "--namespace", NAMESPACE))


def test_an_identical_upgrade_changes_nothing(release: Release) -> None:
    before = release.state()

    must(release.upgrade())

    assert release.state() == before


def test_pods_can_do_no_more_than_they_need(release: Release) -> None:
    memory_mb = {}
    for service in SERVICES:
        seen = _look(release, service)
        memory_mb[service] = seen.pop("memory")
        assert seen == {"user": 10001, "can write": False, "has a token": False, "capabilities": 0}

    figures.note("pods", {"memory after some chats, MB": memory_mb})
    if not release.node.is_given:
        figures.note("images", {"unpacked, MB": sizes_mb(release.images), "layers": layers(release.images)})


def _look(release: Release, service: str) -> dict[str, Any]:
    """Returns what a service's container says about itself."""
    look = ("exec", f"deployment/{release.workload(service)}", "-c", service, "--", "python", "-c", _LOOK)
    seen: dict[str, Any] = json.loads(release.kubectl(*look))
    return seen
