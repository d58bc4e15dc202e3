"""Pods that are deleted or killed and stores that restart, while clients chat and stream."""

from __future__ import annotations

import time

import pytest

from e2e import figures
from e2e.edge import Edge
from e2e.evidence import FOLDER
from e2e.images import SERVICES
from e2e.ledger import Ledger
from e2e.load import Shape, running_load
from e2e.release import NAME, Release, is_ready, restarts, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

REDUNDANT = {"defaults": {"replicas": 2}}
SHAPE = Shape(stream_tokens=300)


@pytest.fixture
def redundant(release: Release) -> Release:
    """The release with two pods of each service."""
    release.is_changed = True
    assert release.upgrade(REDUNDANT).status == 0
    release.wait_until_rolled_out()
    return release


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_that_is_deleted_costs_no_answer(redundant: Release, edge: Edge, service: str) -> None:
    with running_load(edge, SHAPE) as load:
        time.sleep(8)
        redundant.kubectl("delete", "pod", redundant.pods(service)[0]["metadata"]["name"], "--wait=true")
        redundant.wait_until_rolled_out()
        time.sleep(3)

    _check(load.ledger, edge, f"{service} deleted with grace")
    assert load.ledger.failures == {}


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_that_is_killed_costs_no_stream_of_the_others(redundant: Release, edge: Edge, service: str) -> None:
    with running_load(edge, SHAPE) as load:
        time.sleep(8)
        pod = redundant.pods(service)[0]
        killed = time.monotonic()
        redundant.node.kill_container(pod["status"]["containerStatuses"][0]["containerID"])
        wait_until(
            "the killed container runs again",
            lambda: restarts(redundant.pods(service)) > restarts([pod]),
            patience_s=60,
        )
        redundant.wait_until_rolled_out()
        time.sleep(3)

    _check(load.ledger, edge, f"{service} killed")
    failed = [entry for entry in load.ledger.entries if entry.failure]
    if service == "gateway":
        # Its own connections die with it: those and no others, and nothing that was asked afterwards for long.
        assert all("cut" in entry.failure or not entry.is_stream for entry in failed)
        assert all(entry.began_s < killed + 3 for entry in failed)
    else:
        assert load.ledger.failures == {}


@pytest.mark.parametrize("store", ["postgres", "valkey"])
def test_a_store_that_restarts_is_found_again(redundant: Release, edge: Edge, store: str) -> None:
    restarts_before = restarts(redundant.pods())

    with running_load(edge, SHAPE) as load:
        time.sleep(8)
        gone = time.monotonic()
        redundant.kubectl("delete", "pod", f"{NAME}-{store}-0", "--wait=true")
        wait_until(
            f"{store} is back", lambda: all(map(is_ready, redundant.pods(store) or [{"status": {}}])), patience_s=90
        )
        back = time.monotonic()
        time.sleep(15)

    _check(load.ledger, edge, f"{store} restarted", {"away, seconds": round(back - gone, 1)})
    late = [entry for entry in load.ledger.entries if entry.failure and entry.began_s > back + 8]
    assert late == []
    assert restarts(redundant.pods()) == restarts_before
    if store == "valkey":
        assert load.ledger.failures == {}


def _check(ledger: Ledger, edge: Edge, scenario: str, more: dict[str, object] | None = None) -> None:
    ledger.check_events(edge)
    ledger.read_runs(edge)
    ledger.write(FOLDER / f"{scenario.replace(' ', '-')}.jsonl")
    figures.note(scenario, (more or {}) | ledger.figures())
