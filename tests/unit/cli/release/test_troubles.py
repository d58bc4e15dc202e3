"""What goes wrong while helm is at work, and what is left of it."""

import gc
import threading

import pytest
from fakes.helm import FakeHelm, revision
from fakes.kubernetes_api import DEPLOYMENTS, PODS, FakeKubernetes, exited, job_pod, no_image
from fakes.kubernetes_api import deployment as a_deployment
from fakes.kubernetes_api import pod as a_pod
from unit.cli.release.conftest import Flotilla

DEPLOY = ("deploy", "--chart", "chart")
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z"


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flotilla_cli.release.watch.HOPE_S", 0.0)


@pytest.mark.usefixtures("no_patience")
def test_an_image_that_does_not_come_stops_helm_and_is_named(flotilla: Flotilla, helm: FakeHelm) -> None:
    waiting = job_pod("preflight", "preflight-1", created=EARLY, phase="Pending", state=no_image())
    helm.plays_history(revision(1, "deployed"))
    helm.plays_history(revision(1, "superseded"), revision(2, "failed"), revision(3, "deployed", "Rollback to 1"))
    helm.plays(
        "upgrade",
        changes=[[PODS, {"items": [waiting]}]],
        until_interrupted=True,
        stderr="Error: UPGRADE FAILED: context canceled\n",
        exit_code=1,
    )

    done = flotilla(*DEPLOY)

    assert done.returncode == 1
    assert "preflight: pod preflight-1 (container preflight): ErrImagePull: not found" in done.stderr
    assert "error: the image flotilla/preflight:v2 cannot be pulled" in done.stderr
    assert "--image-tag" in done.stderr
    assert "revision 3 runs: Rollback to 1" in done.stderr


@pytest.mark.usefixtures("no_patience")
def test_a_pod_that_was_without_an_image_before_does_not_stop_helm(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    kubernetes.put(PODS, {"items": [a_pod("memory", "flotilla-memory-blue-1", state=no_image())]})
    helm.plays_history(revision(1, "deployed"))
    helm.plays("upgrade", changes=[[DEPLOYMENTS, {"items": [a_deployment("memory")]}]])

    assert flotilla(*DEPLOY).returncode == 0


def test_an_image_that_comes_late_is_waited_for(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(1, "deployed"))
    late = a_pod("memory", "flotilla-memory-blue-1", is_ready=True)
    helm.plays(
        "upgrade",
        changes=[
            [PODS, {"items": [a_pod("memory", "flotilla-memory-blue-1", state=no_image())]}],
            [PODS, {"items": [late]}],
        ],
    )

    assert flotilla(*DEPLOY).returncode == 0


# Ctrl-C may come in the middle of a request to the cluster, whose socket nobody closes then; it is to go in these tests
# and not in a later one.
_amid_a_request = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)


@_amid_a_request
def test_ctrl_c_has_helm_undo_its_work(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(1, "deployed"))
    helm.plays_history(revision(1, "superseded"), revision(2, "failed"), revision(3, "deployed", "Rollback to 1"))
    helm.plays(
        "upgrade",
        changes=[[DEPLOYMENTS, {"items": []}]],
        interrupts_caller=True,
        until_interrupted=True,
        stderr="Error: UPGRADE FAILED: context canceled\n",
        exit_code=1,
    )

    done = flotilla(*DEPLOY)

    assert done.returncode == 1
    assert "error: stopped by Ctrl-C\nrevision 3 runs: Rollback to 1" in done.stderr
    gc.collect()


@_amid_a_request
def test_ctrl_c_lets_a_rollback_end(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(1, "superseded"), revision(2, "deployed"))
    seen = [[DEPLOYMENTS, {"items": []}]]
    helm.plays("rollback", changes=seen, interrupts_caller=True, stdout="Rollback was a success!\n")

    done = flotilla("rollback")

    assert done.returncode == 0, done.stderr
    assert "a rollback goes on to its end" in done.stderr
    gc.collect()


@pytest.mark.parametrize("why", ['no Secret with the name "identity" found', 'cannot patch "migrate" with kind Job'])
def test_an_undoing_that_helm_gave_up_is_finished(flotilla: Flotilla, helm: FakeHelm, why: str) -> None:
    ran = revision(1, "deployed")
    refused = revision(2, "superseded", 'Upgrade "flotilla" failed: pre-upgrade hooks failed')
    given_up = revision(3, "failed", f'Rollback "flotilla" failed: {why}')
    helm.plays_history(ran)
    helm.plays_history(ran, refused, given_up)
    helm.plays_history(revision(1, "superseded"), refused, given_up, revision(4, "deployed", "Rollback to 1"))
    helm.plays(
        "upgrade",
        stderr="Error: UPGRADE FAILED: an error occurred while rolling back the release. original upgrade error: "
        f"pre-upgrade hooks failed: job failed\n\n: {why}\n",
        exit_code=1,
    )
    helm.plays("rollback")

    done = flotilla(*DEPLOY)

    assert done.returncode == 1
    assert [call[2] for call in helm.calls("rollback")] == ["1"]
    assert "$ helm rollback flotilla 1 " in done.stderr
    assert "error: helm failed: pre-upgrade hooks failed: job failed\n" in done.stderr
    assert "revision 4 runs: Rollback to 1" in done.stderr


def test_what_an_earlier_deploy_left_is_not_blamed(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    left = job_pod("preflight", "preflight-1", created=EARLY, phase="Failed", state=exited(1))
    test = a_pod("test", "flotilla-test", state=exited(1))
    del test["metadata"]["ownerReferences"]
    kubernetes.put(PODS, {"items": [left, test]})
    helm.plays_history(revision(1, "deployed"))
    helm.plays("upgrade", stderr="Error: values don't meet the schema\n", exit_code=1)

    done = flotilla(*DEPLOY)

    assert "values don't meet the schema" in done.stderr
    assert "preflight-1" not in done.stderr
    assert "flotilla-test" not in done.stderr


def test_deploy_tells_how_a_job_goes(flotilla: Flotilla, helm: FakeHelm) -> None:
    working = job_pod("preflight", "preflight-1", created=EARLY, phase="Running", state={})
    ended = job_pod("preflight", "preflight-1", created=EARLY, phase="Succeeded", state=exited(0))
    # Without a probe a container that runs is ready, whatever will come of it.
    working["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    helm.plays_history(revision(1, "deployed"))
    helm.plays("upgrade", changes=[[PODS, {"items": [working]}], [PODS, {"items": [ended]}]])

    done = flotilla(*DEPLOY)

    news = [line.split()[:-2] for line in done.stderr.splitlines() if line.startswith("  ")]
    assert news == [["preflight", "at", "work"], ["preflight", "done"]]


def test_deploy_waits_until_only_new_pods_take_requests(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    leaving = a_pod("gateway", "flotilla-gateway-blue-1")
    leaving["metadata"]["deletionTimestamp"] = LATE
    kubernetes.put(PODS, {"items": [leaving]})
    helm.plays_history(revision(2, "deployed"))
    helm.plays("upgrade", stdout="NOTES", changes=[[DEPLOYMENTS, {"items": [a_deployment("gateway", ready=0)]}]])

    def settle_later() -> None:
        helm.await_end("upgrade")
        kubernetes.await_reads(DEPLOYMENTS, times=4)
        kubernetes.put(DEPLOYMENTS, {"items": [a_deployment("gateway")]})

    later = threading.Thread(target=settle_later)
    later.start()

    done = flotilla(*DEPLOY)

    later.join()
    assert "gateway blue         1/1 ready" in done.stderr
    assert "earlier pods that finish what they have: 1." in done.stdout
    # They are for whoever installs.
    assert "NOTES" not in done.stderr


@pytest.mark.parametrize("second", [("Succeeded", exited(0)), ("Running", {})])
def test_status_passes_over_a_jobs_earlier_tries(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes, second: tuple[str, dict[str, object]]
) -> None:
    first = job_pod("migration", "migrate-1", created=EARLY, phase="Failed", state=exited(1))
    phase, state = second
    again = job_pod("migration", "migrate-2", created=LATE, phase=phase, state=state)
    kubernetes.put(PODS, {"items": [again, first]})
    helm.plays_history(revision(1, "deployed"))

    done = flotilla("status", "--release", "flotilla")

    assert done.returncode == 0
    assert "migrate-1" not in done.stderr


def test_status_shows_a_job_that_fails(flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes) -> None:
    first = job_pod("migration", "migrate-1", created=EARLY, phase="Failed", state=exited(1))
    again = job_pod("migration", "migrate-2", created=LATE, phase="Failed", state=exited(2))
    kubernetes.put(PODS, {"items": [first, again]})
    helm.plays_history(revision(1, "deployed"))

    done = flotilla("status", "--release", "flotilla")

    assert "migration: pod migrate-2 (container migration): exited with 2" in done.stderr
    assert "migrate-1" not in done.stderr


@pytest.mark.parametrize(("status", "is_shown"), [("deployed", False), ("failed", True)])
def test_status_shows_the_preflight_of_a_revision_that_is_not_undone(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes, status: str, is_shown: bool
) -> None:
    refused = job_pod("preflight", "preflight-1", created=EARLY, phase="Failed", state=exited(1))
    kubernetes.put(PODS, {"items": [refused]})
    helm.plays_history(revision(1, "superseded"), revision(2, status, "Upgrade failed:\n\t* a\n"))

    done = flotilla("status", "--release", "flotilla")

    assert ("preflight-1" in done.stderr) is is_shown
    assert ("Upgrade failed: * a" in done.stderr) is is_shown
