"""Every pod that the chart makes: passes the standard `restricted`, is probed, drained, and finds what it mounts."""

from __future__ import annotations

import pytest
from render import Manifest, of_kind
from workloads import SERVICES, component, containers, drain_max_s, is_early, pod_spec, pods, references, services


def test_pods_pass_the_standard_restricted(rendered: list[Manifest]) -> None:
    for workload in pods(rendered):
        spec = pod_spec(workload)

        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        allowed = {"name", "emptyDir", "configMap", "secret", "projected"}
        assert all(volume.keys() <= allowed for volume in spec["volumes"])
        for container in containers(spec):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["privileged"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}


def test_pods_have_a_read_only_root_sized_scratch_and_no_token(rendered: list[Manifest]) -> None:
    for workload in pods(rendered):
        spec = pod_spec(workload)

        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume)
        for container in containers(spec):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_service_accounts_mount_no_token(rendered: list[Manifest]) -> None:
    accounts = of_kind(rendered, "ServiceAccount")

    assert len(accounts) == len(SERVICES)
    assert all(account["automountServiceAccountToken"] is False for account in accounts)


def test_services_drain_before_they_are_told_to_stop(rendered: list[Manifest]) -> None:
    for deployment in services(rendered):
        [container] = pod_spec(deployment)["containers"]

        command = container["lifecycle"]["preStop"]["exec"]["command"]
        assert "flotilla_common.drain" in command[-1]
        assert pod_spec(deployment)["terminationGracePeriodSeconds"] >= drain_max_s(rendered, deployment) + 30


def test_the_gateway_still_takes_requests_until_everybody_in_front_knows(development: list[Manifest]) -> None:
    [gateway] = [each for each in services(development) if component(each) == "gateway"]

    command = pod_spec(gateway)["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]

    assert command == ["/bin/sh", "-c", "sleep 5; exec python -m flotilla_common.drain"]


def test_services_are_probed_on_the_plaintext_port_and_live_without_their_dependencies(
    rendered: list[Manifest],
) -> None:
    for deployment in services(rendered):
        [container] = pod_spec(deployment)["containers"]

        probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
        if component(deployment) == "gateway":
            paths = [probe["httpGet"]["path"] for probe in probes]
            assert paths == ["/health", "/ready", "/health"]
        else:
            assert all(probe["grpc"]["port"] == 50052 for probe in probes)


def test_services_roll_without_a_pod_less_than_wanted(rendered: list[Manifest]) -> None:
    for deployment in services(rendered):
        spec = deployment["spec"]

        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 0}
        assert spec["minReadySeconds"] == 5
        assert spec["revisionHistoryLimit"] == 3


def test_selectors_are_part_of_the_pods_labels(rendered: list[Manifest]) -> None:
    for workload in of_kind(rendered, "Deployment", "StatefulSet"):
        labels = workload["spec"]["template"]["metadata"]["labels"]

        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_every_service_selects_exactly_one_workload(rendered: list[Manifest]) -> None:
    for service in of_kind(rendered, "Service"):
        selected = [
            workload["metadata"]["name"]
            for workload in of_kind(rendered, "Deployment", "StatefulSet")
            if service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        ]

        assert len(selected) == 1, service["metadata"]["name"]


def test_services_name_ports_that_their_pods_have(rendered: list[Manifest]) -> None:
    for service in of_kind(rendered, "Service"):
        for workload in of_kind(rendered, "Deployment", "StatefulSet"):
            if service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items():
                names = {port["name"] for each in pod_spec(workload)["containers"] for port in each["ports"]}
                assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_pods_refer_to_what_there_is(rendered: list[Manifest]) -> None:
    for workload in pods(rendered):
        there = {
            (each["kind"], each["metadata"]["name"])
            for each in rendered
            # A hook runs before ordinary objects exist; only tests run after everything.
            if not is_early(workload) or is_early(each)
        }
        named = {name for kind, name in references(pod_spec(workload)) if kind == "ServiceAccount"}

        assert named <= {name for kind, name in there if kind == "ServiceAccount"}
        for kind, name in references(pod_spec(workload)):
            is_made_here = name.startswith("flotilla-") and any(name == other for _, other in there)
            assert is_made_here or kind == "Secret" or (kind, name) in there, (workload["metadata"]["name"], kind, name)


def test_the_charts_own_secrets_are_there_when_they_are_mounted(development: list[Manifest]) -> None:
    for workload in pods(development):
        there = {
            each["metadata"]["name"] for each in of_kind(development, "Secret") if is_early(each) == is_early(workload)
        }

        assert {name for kind, name in references(pod_spec(workload)) if kind == "Secret"} <= there


def test_mounts_have_volumes_and_volumes_have_mounts(rendered: list[Manifest]) -> None:
    for workload in pods(rendered):
        spec = pod_spec(workload)

        volumes = {volume["name"] for volume in spec["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        assert volumes == {mount["name"] for each in containers(spec) for mount in each.get("volumeMounts", [])}


@pytest.mark.parametrize("colour", ["blue", "green"])
def test_calls_stay_inside_a_colour(two_colours: list[Manifest], colour: str) -> None:
    headless = {each["metadata"]["name"] for each in of_kind(two_colours, "Service") if each["spec"].get("clusterIP")}

    for settings in of_kind(two_colours, "ConfigMap"):
        targets = [value for name, value in settings["data"].items() if name.endswith("_TARGET")]
        if settings["metadata"]["labels"].get("flotilla/color") == colour:
            assert all(target.startswith("dns:///") for target in targets)
            hosts = {target.removeprefix("dns:///").split(".")[0] for target in targets}
            assert hosts <= {name for name in headless if name.endswith(f"-{colour}")}


def test_only_the_gateways_service_chooses_a_colour(two_colours: list[Manifest]) -> None:
    chosen = {
        service["metadata"]["name"]: service["spec"]["selector"]["flotilla/color"]
        for service in of_kind(two_colours, "Service")
    }

    assert chosen.pop("agents-gateway") == "green"
    assert all(name.endswith(f"-{colour}") for name, colour in chosen.items())


def test_a_colour_has_its_own_version_and_a_digest_wins(two_colours: list[Manifest]) -> None:
    images = {each["metadata"]["name"]: pod_spec(each)["containers"][0]["image"] for each in services(two_colours)}

    assert images["agents-memory-blue"] == "flotilla/memory:1.4.0"
    assert images["agents-memory-green"] == "flotilla/memory:1.5.0"
    assert images["agents-tool-green"].startswith("flotilla/tool@sha256:4f53")


def test_pods_start_also_while_an_agent_of_theirs_is_being_taken_away(rendered: list[Manifest]) -> None:
    for deployment in services(rendered):
        if component(deployment) == "orchestrator":
            [volume] = [each for each in pod_spec(deployment)["volumes"] if each["name"] == "agents"]
            # kubelet then leaves out the keys that the ConfigMap has no more; without any agent the service refuses.
            assert volume["configMap"]["optional"] is True
