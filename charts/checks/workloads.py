"""What checks ask about the things that make pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from render import Manifest, of_kind

SERVICES = ("evaluator", "gateway", "memory", "orchestrator", "tool")
HOOK = "helm.sh/hook"


def pod_spec(manifest: Manifest) -> Manifest:
    """Returns the pod that a workload makes, or a pod's own spec."""
    spec: Manifest = manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]
    return spec


def pods(found: Sequence[Manifest]) -> list[Manifest]:
    """Returns everything that makes pods."""
    return of_kind(found, "Deployment", "StatefulSet", "Job", "Pod")


def containers(spec: Manifest) -> list[Manifest]:
    """Returns all containers of a pod, those at its beginning included."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def services(found: list[Manifest]) -> list[Manifest]:
    """Returns the Deployments of the five services, in all colours."""
    return [each for each in of_kind(found, "Deployment") if component(each) in SERVICES]


def component(manifest: Manifest) -> str:
    """Returns which part of the platform a manifest belongs to."""
    return str(manifest["metadata"]["labels"]["app.kubernetes.io/component"])


def is_early(manifest: Manifest) -> bool:
    """Whether this is made before an install or upgrade changes anything."""
    return "pre-install" in manifest["metadata"].get("annotations", {}).get(HOOK, "")


def drain_max_s(found: list[Manifest], deployment: Manifest) -> int:
    """Returns how long a service's pods wait for their work."""
    [settings] = [
        each for each in of_kind(found, "ConfigMap") if each["metadata"]["name"] == deployment["metadata"]["name"]
    ]
    return int(settings["data"][f"{component(deployment).upper()}_DRAIN_MAX_S"])


def references(spec: Manifest) -> Iterator[tuple[str, str]]:
    """Yields kind and name of everything that a pod needs to be there."""
    if "serviceAccountName" in spec:
        yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec["volumes"]:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        for source in volume.get("projected", {}).get("sources", []):
            yield "Secret", source["secret"]["name"]
    for container in containers(spec):
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"]
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield "Secret", reference["name"]
