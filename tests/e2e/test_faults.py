"""Pods that are deleted or killed and stores that restart, while clients chat and stream."""

from __future__ import annotations

import time

import pytest

from e2e import figures
from e2e.edge import Edge
from e2e.evidence import FOLDER
from e2e.images import SERVICES
from e2e.ledger import Entry, Ledger, is_log_wrong
from e2e.load import Shape, running_load
from e2e.release import NAME, Release, is_ready, restarts, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

SHAPE = Shape(stream_tokens=300)


@pytest.fixture
def redundant(installed: Release) -> Release:
    """The release with two pods of each service."""
    installed.ensure({"defaults": {"replicas": 2}})
    return installed


def test_pods_that_are_deleted_cost_no_answer(redundant: Release, edge: Edge) -> None:
    seconds = {}

    with running_load(edge, SHAPE) as load:
        for service in SERVICES:
            time.sleep(5)
            began = time.monotonic()
            redundant.kubectl("delete", "pod", redundant.pods(service)[0]["metadata"]["name"], "--wait=true")
            seconds[service] = round(time.monotonic() - began, 1)
            redundant.wait_until_rolled_out()

    _check(load.ledger, edge, "pods deleted with grace", {"from delete to gone, seconds": seconds})
    assert load.ledger.failures == {}


def test_services_that_are_killed_cost_no_answer(redundant: Release, edge: Edge) -> None:
    with running_load(edge, SHAPE) as load:
        for service in SERVICES[1:]:
            time.sleep(8)
            _kill_one(redundant, service)

    _check(load.ledger, edge, "services killed")
    assert load.ledger.failures == {}


def test_a_gateway_that_is_killed_breaks_its_own_connections_and_loses_no_run(redundant: Release, edge: Edge) -> None:
    with running_load(edge, SHAPE) as load:
        time.sleep(8)
        killed = time.monotonic()
        _kill_one(redundant, "gateway")
        time.sleep(3)

    _check(load.ledger, edge, "gateway killed")
    failed = [entry for entry in load.ledger.entries if entry.failure]
    # Every run whose stream broke with its gateway has gone on to its end: its event log has been read again by now.
    assert not [entry for entry in failed if entry.began_s < killed and is_log_wrong(entry)]
    # Until the ingress has learned of it, about a second, it answers 502 for the dead gateway. A stream that begins
    # meanwhile and is cut on its way there is one whose client has left, to the gateway that lives. That is rare.
    assert all(entry.failure.startswith(("cut: ", "502 from the way there")) for entry in failed)
    assert all(entry.failure.endswith("failed: cancelled") for entry in failed if is_log_wrong(entry))
    assert sum(map(is_log_wrong, failed)) <= 1
    assert all(entry.began_s < killed + 3 for entry in failed)
    assert sum(not entry.is_stream for entry in failed) <= SHAPE.unary_per_s


@pytest.mark.parametrize("store", ["postgres", "valkey"])
def test_a_store_that_restarts_is_found_again(redundant: Release, edge: Edge, store: str) -> None:
    restarts_before = restarts(redundant.pods())

    with running_load(edge, SHAPE) as load:
        time.sleep(8)
        gone = time.monotonic()
        redundant.kubectl("delete", "pod", f"{NAME}-{store}-0", "--wait=true")
        wait_until(f"{store} is back", lambda: _is_back(redundant, store), patience_s=90)
        back = time.monotonic()
        time.sleep(15)

    _check(load.ledger, edge, f"{store} restarted", {"away, seconds": round(back - gone, 1)})
    assert _failed_after(load.ledger, back + 8) == []
    assert restarts(redundant.pods()) == restarts_before
    if store == "valkey":
        assert load.ledger.failures == {}


def _kill_one(release: Release, service: str) -> None:
    """Kills one of a service's two containers and waits until it runs again."""
    before = restarts(release.pods(service))
    release.node.kill_container(release.pods(service)[0]["status"]["containerStatuses"][0]["containerID"])
    wait_until(f"{service} runs again", lambda: restarts(release.pods(service)) > before, patience_s=90)
    release.wait_until_rolled_out()


def _is_back(release: Release, store: str) -> bool:
    pods = release.pods(store)
    return bool(pods) and all(map(is_ready, pods))


def _failed_after(ledger: Ledger, moment: float) -> list[Entry]:
    return [entry for entry in ledger.entries if entry.failure and entry.began_s > moment]


def _check(ledger: Ledger, edge: Edge, scenario: str, more: dict[str, object] | None = None) -> None:
    ledger.check_events(edge)
    ledger.read_runs(edge)
    ledger.write(FOLDER / f"{scenario.replace(' ', '-')}.jsonl")
    figures.note(scenario, (more or {}) | ledger.figures())
