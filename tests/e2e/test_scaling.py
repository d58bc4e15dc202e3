"""The autoscaler adds orchestrators under load and takes them away after it; nobody who chats notices."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

import pytest

from e2e import figures
from e2e.edge import Edge
from e2e.evidence import FOLDER
from e2e.load import Shape, running_load
from e2e.release import Release, is_ready, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

SCALED = {
    "services": {
        "orchestrator": {
            "autoscaling": {
                "enabled": True,
                "minReplicas": 1,
                "maxReplicas": 3,
                "scaleDown": {
                    "stabilizationWindowSeconds": 15,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}],
                },
            },
            "resources": {"requests": {"cpu": "130m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        }
    }
}
BUSY = Shape(unary_per_s=40, streams=10, stream_tokens=300)
QUIET = Shape(unary_per_s=1, streams=2, stream_tokens=400)


@dataclass(slots=True)
class Arrivals:
    """When orchestrators became ready, and when each had accepted its first run."""

    release: Release
    ready_s: dict[str, float] = field(default_factory=dict)
    first_run_s: dict[str, float] = field(default_factory=dict)

    def look(self) -> int:
        """Notes who is there by now and returns how many take part."""
        for pod in self.release.pods("orchestrator"):
            name = pod["metadata"]["name"]
            if is_ready(pod) and name not in self.first_run_s:
                self.ready_s.setdefault(name, time.monotonic())
                if accepted_runs(self.release, name):
                    self.first_run_s[name] = time.monotonic()
        return len(self.first_run_s)

    def delays_s(self) -> list[float]:
        """Returns how long each pod but the first was ready before it had a run."""
        return [round(self.first_run_s[name] - ready, 1) for name, ready in list(self.ready_s.items())[1:]]


@pytest.fixture
def scaled(installed: Release) -> Release:
    """The release with an autoscaler for the orchestrator."""
    installed.ensure(SCALED)
    return installed


def test_pods_that_are_added_share_the_load_and_leave_without_a_cut(scaled: Release, edge: Edge) -> None:
    arrivals = Arrivals(scaled)

    with running_load(edge, BUSY) as busy:
        began = time.monotonic()
        wait_until("three orchestrators have work", lambda: arrivals.look() >= 3, patience_s=180)
        grown_s = time.monotonic() - began
        time.sleep(5)
        before = _accepted(scaled)
        time.sleep(20)
        shares = [count - before.get(name, 0.0) for name, count in _accepted(scaled).items()]
    with running_load(edge, QUIET) as quiet:
        began = time.monotonic()
        wait_until("one orchestrator is left", lambda: len(scaled.pods("orchestrator")) == 1, patience_s=240)
        shrunk_s = time.monotonic() - began

    mean = sum(shares) / len(shares)
    spread = max(abs(share / mean - 1) for share in shares)
    for name, load in (("out", busy), ("in", quiet)):
        load.ledger.check_events(edge)
        load.ledger.read_runs(edge)
        load.ledger.write(FOLDER / f"autoscaling-{name}.jsonl")
        figures.note(f"autoscaling {name}", load.ledger.figures())
    times = {"to three pods, seconds": round(grown_s, 1), "first run after ready, seconds": arrivals.delays_s()}
    figures.note(
        "autoscaling out", {**times, "runs by pod in 20 s": shares, "furthest from the mean": round(spread, 3)}
    )
    figures.note("autoscaling in", {"to one pod, seconds": round(shrunk_s, 1)})
    assert busy.ledger.failures == {}
    assert quiet.ledger.failures == {}
    assert max(arrivals.delays_s()) <= 40
    assert spread <= 0.25


def accepted_runs(release: Release, pod: str) -> float:
    """Returns how many runs a pod has accepted."""
    counts = re.findall(r"^flotilla_runs_accepted_total\{.*\} (\S+)$", release.metrics(pod), re.MULTILINE)
    return sum(map(float, counts))


def _accepted(release: Release) -> dict[str, float]:
    names = [pod["metadata"]["name"] for pod in release.pods("orchestrator")]
    return {name: accepted_runs(release, name) for name in names}
