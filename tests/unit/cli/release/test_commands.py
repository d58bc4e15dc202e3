"""The commands with a helm that plays a script and a small Kubernetes API."""

import json
import shlex
from pathlib import Path

import pytest
from fakes.helm import FakeHelm, revision
from fakes.kubernetes_api import DEPLOYMENTS, EVENTS, NAMESPACE, PODS, SERVICES, FakeKubernetes, crash_loop
from fakes.kubernetes_api import deployment as a_deployment
from fakes.kubernetes_api import pod as a_pod
from unit.cli.release.conftest import Flotilla

DEPLOY = ("deploy", "--chart", "chart")


def test_deploy_installs_by_helm_and_shows_the_command(flotilla: Flotilla, helm: FakeHelm, tmp_path: Path) -> None:
    (tmp_path / "my values.yaml").write_text("{}")
    helm.plays("history", stderr="Error: release: not found", exit_code=1)
    helm.plays_history(revision(1, "deployed", "Install complete"))
    helm.plays("upgrade", stdout="NOTES: call it\n")

    done = flotilla(*DEPLOY, "--set", "a.b=1", "--values", "my values.yaml", "--image-tag", "v2", "--timeout", "90s")

    assert done.returncode == 0, done.stderr
    assert "revision 1 is deployed" in done.stdout
    assert "NOTES: call it" in done.stderr
    (call,) = helm.calls("upgrade")
    assert shlex.join(["helm", *call]) in done.stderr
    assert call == [
        *("upgrade", "--install", "flotilla", "chart", "--namespace", "flotilla", "--reset-then-reuse-values"),
        *("--values=my values.yaml", "--set", "a.b=1", "--set-string", "image.tag=v2"),
        *("--atomic", "--wait", "--timeout", "90s", "--history-max", "30"),
    ]


def test_deploy_speaks_to_helm_4_in_its_words(flotilla: Flotilla, helm: FakeHelm, tmp_path: Path) -> None:
    (tmp_path / "bin" / "version.json").unlink()
    helm.plays("version", stdout="v4.3.1+g1234567")
    helm.plays_history(revision(1, "deployed"))
    helm.plays("upgrade")

    flotilla(*DEPLOY)

    (call,) = helm.calls("upgrade")
    assert "--rollback-on-failure" in call
    assert "--atomic" not in call


def test_deploy_names_release_namespace_and_context(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    kubernetes.put("/api/v1/namespaces/team", {"metadata": {"name": "team"}})
    kubernetes.put("/apis/apps/v1/namespaces/team/deployments", {"items": []})
    kubernetes.put("/api/v1/namespaces/team/pods", {"items": []})
    helm.plays_history(revision(1, "deployed"))
    helm.plays("upgrade")

    done = flotilla(*DEPLOY, "--release", "red", "--namespace", "team", "--context", "x", "--reset-values")

    assert done.returncode == 0, done.stderr
    (call,) = helm.calls("upgrade")
    assert call[:4] == ["upgrade", "--install", "red", "chart"]
    assert call[4:8] == ["--namespace", "team", "--kube-context", "x"]
    assert "--reset-values" in call
    selectors = {str(query["labelSelector"]) for path, query in kubernetes.queries if path.endswith("deployments")}
    assert any("app.kubernetes.io/instance=red" in selector for selector in selectors)


def test_deploy_tells_how_each_service_comes_up(flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes) -> None:
    kubernetes.put(DEPLOYMENTS, {"items": [a_deployment("gateway"), a_deployment("memory")]})
    helm.plays_history(revision(2, "deployed"))
    half = a_deployment("gateway", desired=2, updated=1, ready=1)
    helm.plays(
        "upgrade",
        changes=[
            [DEPLOYMENTS, {"items": [a_deployment("gateway"), a_deployment("memory")]}],
            [DEPLOYMENTS, {"items": [half, a_deployment("memory")]}],
            [DEPLOYMENTS, {"items": [a_deployment("gateway", desired=2), a_deployment("memory")]}],
        ],
    )

    done = flotilla(*DEPLOY)

    news = [line.split() for line in done.stderr.splitlines() if line.startswith("  ")]
    assert [line[:3] for line in news] == [["gateway", "blue", "1/2"], ["gateway", "blue", "2/2"]]


def test_a_failed_deploy_shows_the_pod_its_reason_and_its_last_lines(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    failing = a_pod("memory", "flotilla-memory-blue-1", restarts=1, state=crash_loop(2))
    kubernetes.put(f"{PODS}/flotilla-memory-blue-1/log", "MEMORY_DATABASE_URL: [host] is unknown\n")
    helm.plays_history(revision(1, "deployed"))
    helm.plays_history(revision(1, "superseded"), revision(2, "failed"), revision(3, "deployed", "Rollback to 1"))
    helm.plays(
        "upgrade",
        # What failed is gone by the time that helm gives up.
        changes=[[PODS, {"items": [failing]}], [PODS, {"items": []}]],
        stderr="Error: UPGRADE FAILED: context deadline exceeded\n",
        exit_code=1,
    )

    done = flotilla(*DEPLOY)

    assert done.returncode == 1
    assert "memory: pod flotilla-memory-blue-1 (container memory): CrashLoopBackOff: exited with 2" in done.stderr
    assert "| MEMORY_DATABASE_URL: [host] is unknown" in done.stderr
    assert "UPGRADE FAILED: context deadline exceeded" in done.stderr
    assert "revision 3 runs: Rollback to 1" in done.stderr
    (previous,) = {query["previous"][0] for path, query in kubernetes.queries if path.endswith("/log")}
    assert previous == "true"


def test_a_pod_that_recovers_is_not_blamed(flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes) -> None:
    failing = a_pod("memory", "flotilla-memory-blue-1", restarts=1, state=crash_loop(2))
    helm.plays_history(revision(1, "deployed"))
    helm.plays(
        "upgrade",
        changes=[
            [PODS, {"items": [failing]}],
            [PODS, {"items": [a_pod("memory", "flotilla-memory-blue-1", is_ready=True, restarts=1)]}],
        ],
        stderr="Error: UPGRADE FAILED: something else\n",
        exit_code=1,
    )

    done = flotilla(*DEPLOY)

    assert done.returncode == 1
    assert "memory: pod" not in done.stderr


def test_a_killed_helm_is_said_with_the_repair(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(1, "deployed"))
    helm.plays_history(revision(1, "deployed"), revision(2, "pending-upgrade", "Preparing upgrade"))
    helm.plays("upgrade", signal=9)

    done = flotilla(*DEPLOY)

    assert done.returncode == 1
    assert "helm was killed by signal 9" in done.stderr
    assert "revision 2 is pending-upgrade; to repair it: flotilla rollback 1" in done.stderr


def test_a_first_install_that_fails_leaves_nothing(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays("upgrade", stderr="WARNING: old\nError: INSTALLATION FAILED: no\n", exit_code=1)

    done = flotilla(*DEPLOY)

    assert done.returncode == 1
    assert "error: helm failed: INSTALLATION FAILED: no" in done.stderr
    assert "nothing of it is left" in done.stderr


def test_deploy_leaves_a_pending_release_alone(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(1, "deployed"), revision(2, "pending-upgrade", "Preparing upgrade"))

    done = flotilla(*DEPLOY)

    assert done.returncode == 1
    assert "revision 2 is pending-upgrade since 2026-03-04 05:06:07 UTC" in done.stderr
    assert "flotilla rollback 1" in done.stderr
    assert helm.calls("upgrade") == []


def test_a_cluster_that_goes_silent_does_not_end_helm(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    helm.plays_history(revision(1, "deployed"))
    helm.plays("upgrade", changes=[[DEPLOYMENTS, 500], [DEPLOYMENTS, {"items": []}]])

    done = flotilla(*DEPLOY)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("helm goes on") == 1


def test_dry_run_only_asks_the_server(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays("upgrade", stdout="kind: Deployment\n")

    done = flotilla(*DEPLOY, "--dry-run")

    assert done.stdout == "kind: Deployment\n"
    (call,) = helm.calls("upgrade")
    assert call[-2:] == ["--dry-run=server", "--hide-secret"]
    assert "--wait" not in call


def test_dry_run_hides_the_secrets_that_helm_leaves(flotilla: Flotilla, helm: FakeHelm) -> None:
    secret = "---\n# Source: a.yaml\nkind: Secret\nstringData:\n  key: hush\n"
    job = "---\n# Source: b.yaml\nkind: Job\n"
    rest = "MANIFEST:\n---\nkind: ConfigMap\ndata:\n  a.yaml: |\n    kind: Secret\nNOTES:\nkind: Secret\n"
    helm.plays("upgrade", stdout=f"HOOKS:\n{secret}{job}{secret}{rest}")

    done = flotilla(*DEPLOY, "--dry-run")

    hidden = "---\n# Source: a.yaml\n# HIDDEN: The Secret output has been suppressed\n"
    assert done.stdout == f"HOOKS:\n{hidden}{job}{hidden}{rest}"


def test_an_image_tag_without_effect_is_said(flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes) -> None:
    kubernetes.put(DEPLOYMENTS, {"items": [a_deployment("gateway")]})
    helm.plays_history(revision(1, "deployed"))
    helm.plays("upgrade")

    done = flotilla(*DEPLOY, "--image-tag", "v3")

    assert "another tag than v3, such as flotilla/gateway:v2" in done.stderr


def test_rollback_skips_what_never_ran(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(1, "superseded"), revision(2, "failed"), revision(3, "deployed"))
    helm.plays("rollback", stdout="Rollback was a success!\n")

    done = flotilla("rollback", "--timeout", "1m")

    assert done.returncode == 0, done.stderr
    assert helm.calls("rollback") == [
        ["rollback", "flotilla", "1", "--namespace", "flotilla", "--wait", "--timeout", "1m", "--history-max", "30"]
    ]


def test_rollback_goes_where_it_is_told(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(1, "superseded"), revision(2, "superseded"), revision(3, "deployed"))
    helm.plays("rollback")

    assert flotilla("rollback", "1").returncode == 0
    assert helm.calls("rollback")[0][2] == "1"
    assert "there is no revision 9" in flotilla("rollback", "9").stderr


def test_rollback_of_nothing_is_refused(flotilla: Flotilla, helm: FakeHelm) -> None:
    assert "there is no release flotilla in namespace flotilla" in flotilla("rollback").stderr

    helm.plays_history(revision(1, "deployed"))

    assert "no other revision of flotilla in namespace flotilla ever ran" in flotilla("rollback").stderr


def test_history_shows_which_image_each_revision_had(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(1, "superseded", "Install complete"), revision(2, "deployed"))
    helm.plays("get", stdout='{"image": {"tag": "v2"}}')

    shown = flotilla("history")
    plain = json.loads(flotilla("history", "--json").stdout)

    assert shown.stdout.splitlines()[2].split()[:5] == ["2", "2026-03-04", "05:06:07", "deployed", "v2"]
    assert [(entry["number"], entry["image_tag"]) for entry in plain] == [(1, "v2"), (2, "v2")]


def test_status_of_a_release_shows_its_services(flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes) -> None:
    service = {"metadata": {"name": "flotilla-gateway"}, "spec": {"selector": {"flotilla/color": "blue"}}}
    kubernetes.put(DEPLOYMENTS, {"items": [a_deployment("gateway", desired=2)]})
    kubernetes.put(SERVICES, {"items": [service]})
    kubernetes.put(PODS, {"items": [a_pod("gateway", "flotilla-gateway-blue-1", is_ready=True, restarts=3)]})
    helm.plays_history(revision(2, "deployed"))

    done = flotilla("status", "--namespace", "flotilla")

    assert done.returncode == 0, done.stderr
    assert "revision 2 deployed" in done.stdout
    assert done.stdout.splitlines()[-1].split() == [
        *("gateway", "blue", "(active)", "2/2", "2/2", "3", "flotilla/gateway:v2")
    ]


def test_status_names_a_pending_release_and_its_repair(flotilla: Flotilla, helm: FakeHelm) -> None:
    helm.plays_history(revision(4, "deployed"), revision(5, "pending-rollback", "Rollback to 3"))

    done = flotilla("status", "--release", "flotilla")
    plain = flotilla("status", "--release", "flotilla", "--json")

    assert done.returncode == plain.returncode == 1
    assert "revision 5 is pending-rollback" in done.stderr
    assert "flotilla rollback 4" in done.stderr
    assert json.loads(plain.stdout)["repair"] == "flotilla rollback 4"


def test_status_explains_a_pod_that_waits_for_a_secret(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    waiting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"name": "flotilla-gateway-blue-1"},
        "reason": "FailedMount",
        "message": 'secret "gateway" not found',
    }
    kubernetes.put(DEPLOYMENTS, {"items": [a_deployment("gateway", ready=0)]})
    kubernetes.put(PODS, {"items": [a_pod("gateway", "flotilla-gateway-blue-1", state=waiting)]})
    kubernetes.put(EVENTS, {"items": [event]})
    helm.plays_history(revision(1, "deployed"))

    done = flotilla("status", "--release", "flotilla")

    assert done.returncode == 1
    assert 'FailedMount: secret "gateway" not found' in done.stderr
    assert "not ready: flotilla-gateway-blue" in done.stderr


def test_status_without_options_is_about_this_machine(flotilla: Flotilla) -> None:
    assert "Flotilla does not run on" in flotilla("status").stderr


@pytest.mark.parametrize("command", [DEPLOY, ("rollback",), ("history",), ("status", "--release", "flotilla")])
def test_a_missing_helm_is_said(flotilla: Flotilla, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    done = flotilla(*command)

    assert done.returncode == 1
    assert done.stderr.startswith("error: helm is not installed, or not on the PATH\n")


def test_a_helm_that_is_too_old_is_refused(flotilla: Flotilla, helm: FakeHelm, tmp_path: Path) -> None:
    (tmp_path / "bin" / "version.json").unlink()
    helm.plays("version", stdout="v3.9.0+g1234567")

    assert "helm v3.9 is too old" in flotilla(*DEPLOY).stderr


def test_a_missing_kubeconfig_is_said(flotilla: Flotilla, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    assert f"there is no kubeconfig at {tmp_path / 'none'}" in flotilla(*DEPLOY).stderr


def test_a_missing_context_is_said(flotilla: Flotilla) -> None:
    done = flotilla(*DEPLOY, "--context", "mars")

    assert done.returncode == 1
    assert "mars" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_namespace_is_said_with_its_remedy(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    kubernetes.refuse(NAMESPACE, 404)

    done = flotilla(*DEPLOY)

    assert f"there is no namespace flotilla on {kubernetes.address}" in done.stderr
    assert "kubectl create namespace flotilla" in done.stderr
    assert helm.calls("upgrade") == []


def test_a_namespace_that_may_not_be_looked_at_may_be_there(
    flotilla: Flotilla, helm: FakeHelm, kubernetes: FakeKubernetes
) -> None:
    kubernetes.refuse(NAMESPACE, 403)
    helm.plays_history(revision(1, "deployed"))
    helm.plays("upgrade")

    assert flotilla(*DEPLOY).returncode == 0


def test_a_cluster_that_does_not_know_the_caller_is_said(flotilla: Flotilla, kubernetes: FakeKubernetes) -> None:
    kubernetes.refuse(NAMESPACE, 401)

    assert "answers 401: it does not know you; log in again" in flotilla(*DEPLOY).stderr


def test_a_cluster_that_does_not_answer_is_said(
    flotilla: Flotilla, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nobody = FakeKubernetes("http://127.0.0.1:1")
    monkeypatch.setenv("KUBECONFIG", str(nobody.write_kubeconfig(tmp_path / "nobody")))

    assert "the cluster at http://127.0.0.1:1 does not answer" in flotilla(*DEPLOY).stderr


def test_a_missing_chart_is_said(flotilla: Flotilla) -> None:
    assert "there is no chart at charts/flotilla" in flotilla("deploy").stderr
