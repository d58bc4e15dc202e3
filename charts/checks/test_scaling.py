"""How many pods, who decides it, and that names and repeats hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from render import CHART, Manifest, RenderError, helm_template, manifests, named, of_kind
from workloads import SERVICES, component, services

LONGEST_RELEASE = "r234567890123456789012345678901234567890"


def test_autoscaling_covers_all_services_and_owns_their_number(production: list[Manifest]) -> None:
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(production, "HorizontalPodAutoscaler")}

    assert scaled == {f"flotilla-{service}-blue" for service in SERVICES}
    assert all("replicas" not in deployment["spec"] for deployment in services(production))


@pytest.mark.parametrize(
    "values", ["services: {tool: {autoscaling: {minReplicas: 11}}}", "defaults: {autoscaling: {maxReplicas: 1}}"]
)
def test_fewer_pods_than_the_fewest_are_refused(values: str) -> None:
    with pytest.raises(RenderError, match=r"services\.\w+\.autoscaling .*: minReplicas is \d+, which is more than"):
        manifests("production", values=values)


def test_the_number_of_pods_is_written_where_nobody_scales(development: list[Manifest]) -> None:
    assert of_kind(development, "HorizontalPodAutoscaler") == []
    assert all(deployment["spec"]["replicas"] == 1 for deployment in services(development))


def test_orchestrators_go_one_a_minute(production: list[Manifest]) -> None:
    behavior = named(production, "HorizontalPodAutoscaler", "flotilla-orchestrator-blue")["spec"]["behavior"]

    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert {"type": "Pods", "value": 4, "periodSeconds": 30} in behavior["scaleUp"]["policies"]


def test_budgets_let_sick_pods_go(rendered: list[Manifest]) -> None:
    for budget in of_kind(rendered, "PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_names_fit_with_the_longest_release() -> None:
    for case in ("development", "two-colours"):
        for manifest in manifests(case, "--set", "fullnameOverride=", release=LONGEST_RELEASE):
            name = manifest["metadata"]["name"]
            assert name.startswith(LONGEST_RELEASE)
            assert len(name) <= 63, name


@pytest.mark.parametrize("release", ["flotilla.eu", "7seas"])
def test_a_release_that_cannot_begin_a_services_name_is_refused(release: str) -> None:
    with pytest.raises(RenderError, match=f"the release is named {release}, which cannot begin a Service's name"):
        manifests("development", release=release)

    assert manifests("development", "--set", "fullnameOverride=flotilla", release=release)


@pytest.mark.parametrize("case", ["development", "production", "two-colours"])
def test_rendering_twice_gives_the_same(case: str) -> None:
    assert helm_template(case) == helm_template(case)


def test_templates_ask_no_cluster_and_throw_no_dice() -> None:
    forbidden = (
        "lookup",
        "randAlpha",
        "randNumeric",
        "randBytes",
        "genPrivateKey",
        "genCA",
        "genSigned",
        "uuidv4",
        "now",
    )
    for template in Path(CHART, "templates").rglob("*"):
        if template.is_file() and template.suffix in (".yaml", ".tpl"):
            words = set(template.read_text().replace("(", " ").replace(")", " ").split())
            assert not words & set(forbidden), template.name


def test_the_active_colour_must_be_enabled() -> None:
    with pytest.raises(RenderError, match=r'rollout\.active is "green", which is not an enabled colour'):
        manifests("development", "--set", "rollout.active=green")


def test_a_prompt_rolls_the_orchestrator_alone() -> None:
    before, after = (
        {component(each): checksum(each) for each in services(manifests("development", values=values))}
        for values in ("{}", "agents: {files: {prompts/assistant.md: Be brief.}}")
    )

    assert {service for service in before if before[service] != after[service]} == {"orchestrator"}


def test_a_setting_rolls_its_service_alone() -> None:
    before, after = (
        {component(each): checksum(each) for each in services(manifests("development", values=values))}
        for values in ("{}", "services: {tool: {env: {TOOL_RESULT_CAP_BYTES: 2048}}}")
    )

    assert {service for service in before if before[service] != after[service]} == {"tool"}


def checksum(deployment: Manifest) -> str:
    return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"])
