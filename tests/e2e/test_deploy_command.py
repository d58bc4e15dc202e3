"""`flotilla deploy | status | history | rollback` on a namespace of its own, once with each helm."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e import figures
from e2e.command import Outcome, must, run
from e2e.edge import Edge, chat_body, counted, counting
from e2e.evidence import FOLDER
from e2e.images import REPOSITORY, SERVICES, Images
from e2e.load import Shape, running_load
from e2e.node import ROOT, Node
from e2e.release import ADMIN_KEY, CHART, NAMESPACE, VALUES, Release, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

HOST = "command.flotilla.localhost"
LIGHT = Shape(unary_per_s=4, streams=1, stream_tokens=60)
_FLOTILLA = str(Path(sys.executable).with_name("flotilla"))


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who has `flotilla`, a helm, and a release to look after."""

    release: Release
    helm_version: str
    transcript: Path
    """Where all that `flotilla` said is kept."""

    def deploy(self, *words: str) -> Outcome:
        """Installs or upgrades; may fail."""
        return self._flotilla("deploy", "--chart", str(CHART), "--timeout", "5m", *words)

    def rollback(self) -> Outcome:
        """Goes back to what ran before."""
        return must(self._flotilla("rollback", "--timeout", "5m"))

    def status(self, *words: str) -> Outcome:
        """Looks at the release; fails if it is not as it should be."""
        return self._flotilla("status", *words)

    def history(self) -> list[dict[str, Any]]:
        """Returns the revisions, oldest first."""
        listed: list[dict[str, Any]] = json.loads(must(self._flotilla("history", "--json")).stdout)
        return listed

    def note(self, what: str, began: float) -> None:
        """Keeps how long something took."""
        figures.note(
            f"flotilla with helm {self.helm_version}", {f"{what}, seconds": round(time.monotonic() - began, 1)}
        )

    def _flotilla(self, command: str, *words: str) -> Outcome:
        outcome = run(_FLOTILLA, command, *words, "--namespace", self.release.namespace, env=self.release.node.env)
        with self.transcript.open("a") as file:
            file.write(f"$ {outcome.command}\n{outcome.said}\n[{outcome.status}]\n\n")
        return outcome


@pytest.fixture(scope="module", params=["helm", "helm4"])
def operator(
    request: pytest.FixtureRequest, node: Node, images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """Somebody with the helm of the other scenarios, or with Helm 4, and with an empty namespace."""
    program = node.helm_program if request.param == "helm" else _helm_4()
    node = node.with_helm(program, tmp_path_factory.mktemp("bin"))
    version = must(node.helm("version", "--template", "{{.Version}}")).stdout
    release = Release(node, images, tmp_path_factory.mktemp("values"), f"{NAMESPACE}-command")
    release.create_namespace(keep=False)
    FOLDER.mkdir(parents=True, exist_ok=True)
    transcript = FOLDER / f"flotilla-{request.param}.txt"
    transcript.write_text("")
    try:
        yield Operator(release, version, transcript)
    finally:
        release.delete_namespace()


@pytest.fixture(scope="module")
def installation(operator: Operator) -> Outcome:
    """What `flotilla deploy` said when it installed the release."""
    own = {**operator.release.images.values(), "ingress": {"hosts": [HOST]}}
    files = [word for file in (*VALUES, operator.release.written(own)) for word in ("--values", file)]
    began = time.monotonic()
    outcome = must(operator.deploy(*files, "--image-tag", operator.release.images.first))
    operator.note("install", began)
    return outcome


@pytest.fixture
def edge(node: Node) -> Edge:
    """The way in to this release."""
    return Edge(node.url, HOST)


def test_deploy_installs_and_tells_how(operator: Operator, installation: Outcome, edge: Edge) -> None:
    assert _shown_command(installation)[:4] == ["helm", "upgrade", "--install", "flotilla"]
    for service in SERVICES:
        assert re.search(rf"^  {service} blue +1/1 ready +\d+ s$", installation.stderr, re.MULTILINE)
    assert "revision 1 is deployed" in installation.stdout
    _check_that_it_runs(operator, operator.release.images.first, operator.history())
    status = must(operator.status("--release", "flotilla")).stdout
    assert f"flotilla in namespace {operator.release.namespace}: revision 1 deployed" in status
    for service in SERVICES:
        assert re.search(
            rf"^{service} +blue \(active\) +1/1 +1/1 +0 +\S+:{operator.release.images.first}", status, re.M
        )
    assert _is_answered(edge)


def test_the_command_that_is_shown_does_the_same_by_itself(operator: Operator, installation: Outcome) -> None:
    before = operator.release.state()
    _, *arguments = _shown_command(installation)

    began = time.monotonic()
    must(operator.release.node.helm(*arguments))
    operator.note("identical upgrade by helm alone", began)

    assert operator.release.state() == before


@pytest.mark.usefixtures("installation")
def test_a_dry_run_shows_what_would_be_and_no_secret(operator: Operator) -> None:
    before, running = operator.release.state(), operator.release.revision()
    tag = operator.release.images.second

    shown = must(operator.deploy("--image-tag", tag, "--dry-run")).stdout

    assert all(f"{REPOSITORY}/{service}:{tag}" in shown for service in SERVICES)
    assert ADMIN_KEY not in shown
    assert base64.b64encode(ADMIN_KEY.encode()).decode() not in shown
    assert (operator.release.state(), operator.release.revision()) == (before, running)


@pytest.mark.parametrize("operator", ["helm"], indirect=True)
@pytest.mark.usefixtures("installation")
def test_an_image_that_is_not_there_is_named_while_the_release_goes_on(operator: Operator, edge: Edge) -> None:
    before = operator.release.state()
    running = operator.history()[-1]["number"]

    with running_load(edge, LIGHT) as load, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        deploying = pool.submit(operator.deploy, "--image-tag", "not-there")
        wait_until("a change is at work", lambda: operator.release.revision() > running, patience_s=60)
        meanwhile, second = operator.status(), operator.deploy("--image-tag", "another")
        outcome = deploying.result()
        operator.note("deploy of a missing image", began)
    load.ledger.check_events(edge)
    load.ledger.write(FOLDER / f"missing-image-{operator.helm_version}.jsonl")

    for refused in (meanwhile, second):
        assert refused.status == 1
        assert f"revision {running + 1} is pending-upgrade" in refused.stderr
        assert f"flotilla rollback {running} --namespace {operator.release.namespace}" in refused.stderr
    assert outcome.status == 1
    assert re.search(r"^preflight: pod \S+ \(container \w+\): (ErrImagePull|ImagePullBackOff)", outcome.stderr, re.M)
    assert re.search(r"^error: the image \S+:not-there cannot be pulled: .*--image-tag", outcome.stderr, re.M)
    assert re.search(rf"^revision \d+ runs: Rollback to {running}$", outcome.stderr, re.M)
    assert operator.release.state() == before
    assert load.ledger.failures == {}
    history = operator.history()
    assert [one["number"] for one in history if one["image_tag"] == "not-there"] == [running + 1]
    _check_that_it_runs(operator, operator.release.images.first, history)
    assert _is_answered(edge)


@pytest.mark.usefixtures("installation")
def test_rollback_goes_back_to_what_ran(operator: Operator, edge: Edge) -> None:
    images, running = operator.release.images, operator.history()[-1]["number"]

    began = time.monotonic()
    must(operator.deploy("--image-tag", images.second))
    operator.note("upgrade", began)
    _check_that_it_runs(operator, images.second, operator.history())
    began = time.monotonic()
    operator.rollback()
    operator.note("rollback", began)

    history = operator.history()
    assert [one["image_tag"] for one in history[-3:]] == [images.first, images.second, images.first]
    assert history[-1]["description"] == f"Rollback to {running}"
    _check_that_it_runs(operator, images.first, history)
    assert _is_answered(edge)


@pytest.mark.usefixtures("installation")
def test_status_after_an_uninstall_says_that_there_is_no_release(operator: Operator) -> None:
    release = operator.release

    began = time.monotonic()
    release.uninstall()
    wait_until("the last pod is gone", lambda: not release.objects("pods"), patience_s=120)
    operator.note("uninstall", began)

    assert [kind_and_name.split()[0] for kind_and_name in release.state()] == ["persistentvolumeclaims"]
    status = operator.status()
    assert status.status == 1
    assert f"there is no release flotilla in namespace {release.namespace}" in status.stderr


def _helm_4() -> str:
    """Returns Helm 4's path; the chart's checks know its version and install it."""
    if given := os.environ.get("FLOTILLA_E2E_HELM4"):
        return given
    folder = must(run(str(ROOT / "charts/checks/tools.sh"), env={"FLOTILLA_HELM4": "1"}, timeout_s=1200)).stdout.strip()
    return f"{folder}/helm4"


def _shown_command(outcome: Outcome) -> list[str]:
    """Returns the helm command that was printed."""
    shown = [line.removeprefix("$ ") for line in outcome.stderr.splitlines() if line.startswith("$ ")]
    assert len(shown) == 1, outcome.said
    return shlex.split(shown[0])


def _check_that_it_runs(operator: Operator, tag: str, history: list[dict[str, Any]]) -> None:
    """Compares what `flotilla` says of the release with what helm and the cluster say."""
    release = operator.release
    images = {pod["spec"]["containers"][0]["image"] for pod in release.pods()}
    told = json.loads(must(operator.status("--json")).stdout)
    newest = history[-1]

    assert {image.rpartition(":")[2] for image in images} == {tag}
    assert {service["image"] for service in told["services"]} == images
    assert {service["service"]: service["ready"] for service in told["services"]} == dict.fromkeys(
        (*SERVICES, "model"), 1
    )
    assert told["active_color"] == "blue"
    assert told["repair"] is None
    assert told["revision"]["number"] == newest["number"] == release.revision()
    assert told["revision"]["status"] == newest["status"] == "deployed"
    assert newest["image_tag"] == tag


def _is_answered(edge: Edge) -> bool:
    reply = edge.post("/v1/chat/completions", chat_body(counting(20), stream=False)).raise_for_status()
    return bool(reply.json()["choices"][0]["message"]["content"].split() == counted(20))
