"""Where pods may run, what they are labelled with and what they may use: hooks and helpers as well as services."""

from __future__ import annotations

from typing import Any

import pytest
from render import CASES, Manifest, RenderError, manifests, of_kind
from workloads import containers, pod_spec, pods, services

PLACED = """
commonLabels: { team: agents, tier: common }
defaults:
  nodeSelector: { pool: agents }
  tolerations: [{ key: dedicated, operator: Exists, effect: NoSchedule }]
  affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } }
  priorityClassName: important
  podLabels: { cost-centre: "42", tier: pod }
  podAnnotations: { mesh: "off" }
"""
RESOURCES = "{ requests: { cpu: 50m, memory: 64Mi }, limits: { cpu: 500m, memory: 256Mi } }"
LIMITED = f"""
defaults: {{ resources: {RESOURCES} }}
services: {{ orchestrator: {{ resources: {RESOURCES} }} }}
migration: {{ resources: {RESOURCES} }}
preflight: {{ resources: {RESOURCES} }}
smokeTest: {{ resources: {RESOURCES} }}
postgres: {{ resources: {RESOURCES} }}
valkey: {{ resources: {RESOURCES} }}
model: {{ development: {{ resources: {RESOURCES} }} }}
"""


@pytest.mark.parametrize("case", list(CASES))
def test_every_pod_goes_where_the_defaults_say(case: str) -> None:
    for workload in pods(manifests(case, values=PLACED)):
        spec = pod_spec(workload)

        assert spec["nodeSelector"] == {"pool": "agents"}, workload["metadata"]["name"]
        assert spec["tolerations"] == [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]
        assert "podAntiAffinity" in spec["affinity"]
        assert spec["priorityClassName"] == "important"


@pytest.mark.parametrize("case", list(CASES))
def test_every_pod_has_the_labels_and_annotations_that_were_given(case: str) -> None:
    for workload in pods(manifests(case, values=PLACED)):
        metadata = pod_metadata(workload)

        assert {"team": "agents", "cost-centre": "42", "tier": "pod"}.items() <= metadata["labels"].items()
        assert metadata["annotations"]["mesh"] == "off"


@pytest.mark.parametrize("case", list(CASES))
def test_labels_that_were_given_select_nothing(case: str) -> None:
    found = manifests(case, values=PLACED)

    for workload in of_kind(found, "Deployment", "StatefulSet"):
        assert "team" not in workload["spec"]["selector"]["matchLabels"]
    for service in of_kind(found, "Service"):
        assert "team" not in service["spec"]["selector"]


def test_a_service_goes_where_it_says_itself() -> None:
    found = manifests("development", values=f"{PLACED}\nservices: {{ tool: {{ nodeSelector: {{ pool: tools }} }} }}")

    pools = {pod_spec(each)["nodeSelector"]["pool"] for each in services(found)}
    assert pools == {"agents", "tools"}


@pytest.mark.parametrize("case", list(CASES))
def test_every_container_can_be_given_a_limit_of_cpu(case: str) -> None:
    for workload in pods(manifests(case, values=LIMITED)):
        for container in containers(pod_spec(workload)):
            assert container["resources"]["limits"] == {"cpu": "500m", "memory": "256Mi"}, container["name"]


@pytest.mark.parametrize(
    "label",
    [
        "app.kubernetes.io/name",
        "app.kubernetes.io/component",
        "app.kubernetes.io/part-of",
        "flotilla/color",
        "helm.sh/chart",
    ],
)
@pytest.mark.parametrize(
    "value", ["{{commonLabels: {}}}", "{{defaults: {{podLabels: {}}}}}", "{{services: {{tool: {{podLabels: {}}}}}}}"]
)
def test_labels_of_the_charts_own_are_refused(value: str, label: str) -> None:
    with pytest.raises(RenderError, match=f"Labels/{label.replace('/', '~1')}': false schema"):
        manifests("development", values=value.format(f"{{{label}: mine}}"))


@pytest.mark.parametrize("annotation", ["checksum/config", "helm.sh/hook"])
def test_annotations_of_the_charts_own_are_refused(annotation: str) -> None:
    with pytest.raises(RenderError, match=f"/defaults/podAnnotations/{annotation.replace('/', '~1')}': false schema"):
        manifests("development", values=f"defaults: {{podAnnotations: {{{annotation}: mine}}}}")


def pod_metadata(workload: Manifest) -> dict[str, Any]:
    metadata: dict[str, Any] = (workload if workload["kind"] == "Pod" else workload["spec"]["template"])["metadata"]
    return metadata
