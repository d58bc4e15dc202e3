"""A release of the chart in a namespace of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from e2e.command import Outcome, must
from e2e.images import SERVICES, Images
from e2e.node import ROOT, Node

CHART = ROOT / "charts" / "flotilla"
VALUES = (str(CHART / "values-development.yaml"), str(Path(__file__).with_name("values.yaml")))
NAMESPACE = "flotilla-e2e"
NAME = "flotilla"
HOST = "e2e.flotilla.localhost"
ADMIN_KEY = "fl_devadmin0_flotillaDevelopmentAdministratorKey00000000"
"""The publicly known one of values-development.yaml."""

KINDS = (
    *("pods", "deployments", "statefulsets", "services", "ingresses", "networkpolicies", "serviceaccounts"),
    *("configmaps", "secrets", "jobs", "poddisruptionbudgets", "persistentvolumeclaims"),
)
"""What a release is made of."""


@dataclass(slots=True)
class Release:
    """What helm and kubectl do to the release."""

    node: Node
    images: Images
    folder: Path
    """Where values files are written."""
    namespace: str = NAMESPACE
    install_s: float = 0.0
    _applied: str | None = field(default=None, init=False)
    """What was installed last, or None when that is not known."""
    _files: int = field(default=0, init=False)

    def create_namespace(self, *, keep: bool) -> None:
        """Makes a namespace that enforces the Pod Security standard `restricted`, or keeps the one there is."""
        if keep and self.node.try_kubectl("get", "namespace", self.namespace).status == 0:
            return
        self.delete_namespace()
        self.node.kubectl("create", "namespace", self.namespace)
        labels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn", "audit")]
        self.node.kubectl("label", "namespace", self.namespace, *labels)

    def delete_namespace(self) -> None:
        """Removes the namespace and all that is in it, without waiting for anybody's work."""
        self.node.try_kubectl(
            "--namespace", self.namespace, "delete", "pods", "--all", "--grace-period=1", "--wait=false"
        )
        self.node.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=180s")

    def upgrade(self, values: Mapping[str, Any] | None = None, *, version: str = "") -> Outcome:
        """Installs or upgrades to exactly these values over the e2e ones; may fail."""
        version = version or self.images.first
        files = [*VALUES, self.written(self._images_values(version)), self.written(values or {})]
        chosen = [part for file in files for part in ("--values", file)]
        wait = ("--wait", "--timeout", "8m")
        outcome = self.node.helm(
            "upgrade", "--install", NAME, str(CHART), "--namespace", self.namespace, *chosen, *wait
        )
        self._applied = None if outcome.status else json.dumps([version, values or {}])
        return outcome

    def ensure(self, values: Mapping[str, Any] | None = None) -> None:
        """Brings the release to these values of the first version with all pods ready, whatever went on before."""
        if self._applied != json.dumps([self.images.first, values or {}]):
            must(self.upgrade(values))
        self.wait_until_rolled_out()
        self.wait_until_settled()

    def rollback(self) -> None:
        """Goes back to the revision before."""
        self._applied = None
        must(self.node.helm("rollback", NAME, "--namespace", self.namespace, "--wait", "--timeout", "8m"))

    def uninstall(self) -> Outcome:
        """Removes the release and waits for its objects' end."""
        self._applied = None
        return must(self.node.helm("uninstall", NAME, "--namespace", self.namespace, "--wait", "--timeout", "5m"))

    def revision(self) -> int:
        """Returns the number of the release's newest revision."""
        listed = must(self.node.helm("history", NAME, "--namespace", self.namespace, "-o", "json"))
        return int(json.loads(listed.stdout)[-1]["revision"])

    def kubectl(self, *arguments: str, timeout_s: float = 300) -> str:
        """Returns what kubectl prints about the release's namespace."""
        return self.node.kubectl("--namespace", self.namespace, *arguments, timeout_s=timeout_s)

    def objects(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Returns the objects of a kind in the release's namespace."""
        items: list[dict[str, Any]] = self.node.get("--namespace", self.namespace, kind, *arguments)["items"]
        return items

    def pods(self, component: str = "") -> list[dict[str, Any]]:
        """Returns a component's pods that are not on their way out, or those of all five services."""
        wanted = component or "in (gateway,orchestrator,memory,tool,evaluator)"
        selector = f"app.kubernetes.io/component{'=' if component else ' '}{wanted}"
        return [pod for pod in self.objects("pods", "-l", selector) if "deletionTimestamp" not in pod["metadata"]]

    def workload(self, service: str) -> str:
        """Returns the name of a service's Deployment."""
        return f"{NAME}-{service}-blue"

    def state(self) -> dict[str, str]:
        """Returns what every object of the release is at this moment; what is changed or made anew shows."""
        return {
            f"{kind} {one['metadata']['name']}": _identity(one)
            for kind in KINDS
            for one in self.objects(kind, "-l", f"app.kubernetes.io/instance={NAME}")
            if "helm.sh/hook" not in one["metadata"].get("annotations", {})
            and one["metadata"]["labels"]["app.kubernetes.io/component"] not in ("preflight", "test")
        }

    def metrics(self, pod: str) -> str:
        """Returns a pod's metrics, as Prometheus would read them."""
        return self.node.kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:9090/proxy/metrics")

    def wait_until_rolled_out(self) -> None:
        """Waits until only pods of the newest version take traffic."""
        for service in SERVICES:
            self.kubectl("rollout", "status", f"deployment/{self.workload(service)}", "--timeout=300s", timeout_s=310)

    def wait_until_settled(self, patience_s: float = 150) -> None:
        """Waits until no pod is on its way in or out."""
        wait_until("all pods are ready and none is leaving", lambda: is_settled(self), patience_s=patience_s)

    def _images_values(self, version: str) -> dict[str, Any]:
        # By colour, because the development model is not part of one: it stands for a provider, and is not upgraded.
        return self.images.values() | {"rollout": {"colors": {"blue": {"image": {"tag": version}}}}}

    def written(self, values: Mapping[str, Any]) -> str:
        """Returns the name of a values file with this content."""
        self._files += 1
        file = self.folder / f"values-{self._files}.yaml"
        file.write_text(json.dumps(values))
        return str(file)


def _identity(one: Mapping[str, Any]) -> str:
    """Its id, and the number of its text: status changes neither."""
    metadata = one["metadata"]
    has_status = one["kind"] in ("Pod", "Job", "PersistentVolumeClaim")
    version = metadata.get("generation") or ("" if has_status else metadata["resourceVersion"])
    return f"{metadata['uid']} {version}"


def is_settled(release: Release) -> bool:
    """Tells whether every pod that is to run is ready and no other is left."""
    pods = [pod for pod in release.objects("pods") if pod["status"].get("phase") != "Succeeded"]
    return all(is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in pods)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Tells whether a pod takes traffic."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


def ready_after_s(pod: Mapping[str, Any]) -> float:
    """Returns the seconds from the first start of a pod's containers until it took traffic."""
    started = min(status["state"]["running"]["startedAt"] for status in pod["status"]["containerStatuses"])
    ready = next(one["lastTransitionTime"] for one in pod["status"]["conditions"] if one["type"] == "Ready")
    return (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()


def restarts(pods: list[dict[str, Any]]) -> int:
    """Returns how often containers of these pods were started again."""
    return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", []))


def wait_until(what: str, condition: Callable[[], bool], *, patience_s: float, pause_s: float = 0.5) -> None:
    """Polls until a condition holds. Raises AssertionError naming it after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(pause_s)
