"""The drawn NetworkPolicies are exactly the declared graph, and nothing reaches a cloud's metadata."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from render import Manifest, RenderError, manifests, of_kind
from workloads import component, is_early, pods

Edge = tuple[str, str, int]
INNER = ("orchestrator", "memory", "tool", "evaluator")
EVERYBODY = ("gateway", *INNER)
# The arrows of the architecture, and what each service stands on.
BETWEEN_SERVICES: set[Edge] = {
    *(("gateway", callee, 50051) for callee in INNER),
    *(("orchestrator", callee, 50051) for callee in ("memory", "tool", "evaluator")),
}
BUNDLED: set[Edge] = {
    *((service, "postgres", 5432) for service in (*EVERYBODY, "migration")),
    ("gateway", "valkey", 6379),
    *((service, "model", 8081) for service in ("orchestrator", "memory", "evaluator")),
}
FROM_OUTSIDE: set[Edge] = {("anyone", "gateway", 8080), *(("monitoring", service, 9090) for service in EVERYBODY)}
SMOKE_TEST: Edge = ("test", "gateway", 8080)
DNS: set[Edge] = {(client, "dns", 53) for client in (*EVERYBODY, "migration", "test")}
METADATA_IPV6 = ip_address("fd00:ec2::254")
METADATA = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254")


def test_all_pods_are_denied_everything_at_first(rendered: list[Manifest]) -> None:
    [deny] = [each for each in policies(rendered) if each["metadata"]["name"].endswith("-default-deny")]

    assert set(deny["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert not deny["spec"].keys() & {"ingress", "egress"}
    selected = deny["spec"]["podSelector"]["matchLabels"].items()
    for workload in pods(rendered):
        is_pod = workload["kind"] == "Pod"
        labels = workload["metadata"]["labels"] if is_pod else workload["spec"]["template"]["metadata"]["labels"]
        assert selected <= labels.items()


def test_ways_out_are_the_declared_ones(development: list[Manifest]) -> None:
    assert edges_out(development) == BETWEEN_SERVICES | BUNDLED | DNS | {SMOKE_TEST}


def test_ways_in_are_the_declared_ones(development: list[Manifest]) -> None:
    assert edges_in(development) == BETWEEN_SERVICES | BUNDLED | FROM_OUTSIDE


def test_ways_between_services_do_not_depend_on_the_values(rendered: list[Manifest]) -> None:
    of_services = {edge for edge in edges_out(rendered) if edge[2] == 50051}

    assert of_services == BETWEEN_SERVICES == {edge for edge in edges_in(rendered) if edge[2] == 50051}


def test_with_stores_elsewhere_only_their_users_reach_them(production: list[Manifest]) -> None:
    out = {edge for edge in edges_out(production) if edge[1] == "address"}

    assert out == {
        *((client, "address", 5432) for client in (*EVERYBODY, "migration")),
        ("gateway", "address", 6379),
        *((client, "address", 443) for client in ("orchestrator", "memory", "evaluator")),
    }


def test_tools_reach_only_what_is_named(two_colours: list[Manifest]) -> None:
    ports = {port for source, target, port in edges_out(two_colours) if source == "tool" and target == "address"}

    assert ports == {5432, 443}


def test_the_gateway_takes_callers_from_where_it_was_told(production: list[Manifest]) -> None:
    callers = {source for source, target, port in edges_in(production) if (target, port) == ("gateway", 8080)}

    assert callers == {"gateways", "test"}


@pytest.mark.parametrize("address", METADATA)
def test_no_rule_reaches_a_metadata_service(rendered: list[Manifest], address: str) -> None:
    for policy in policies(rendered):
        for rule in policy["spec"].get("egress", []):
            assert rule["to"], policy["metadata"]["name"]
            for peer in rule["to"]:
                assert "ipBlock" not in peer or not reaches(peer["ipBlock"], address), policy["metadata"]["name"]


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "128.0.0.0/1", "168.0.0.0/6", "169.0.0.0/8", "169.254.0.0/15"])
def test_metadata_is_cut_out_of_the_blocks_that_hold_it(cidr: str) -> None:
    found = manifests("production", values=tool_may(f"to: [{{ipBlock: {{cidr: {cidr}}}}}]"))

    [rule] = [
        rule
        for policy in policies(found)
        if component(policy) == "tool"
        for rule in policy["spec"]["egress"]
        if "ipBlock" in rule["to"][0] and rule["to"][0]["ipBlock"]["cidr"] == cidr
    ]
    assert rule["to"][0]["ipBlock"]["except"] == ["169.254.0.0/16"]


@pytest.mark.parametrize(
    "cidr", ["::/0", "f000::/4", "fc00::/7", "fd00::/8", "FD00:0EC2::/32", "fd00:ec2:0:0:0:0:0:0/120"]
)
def test_metadata_is_cut_out_of_the_ipv6_blocks_that_hold_it(cidr: str) -> None:
    found = manifests("production", values=tool_may(f"to: [{{ipBlock: {{cidr: '{cidr}'}}}}]"))

    excepted = [
        peer["ipBlock"].get("except")
        for policy in policies(found)
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        if peer.get("ipBlock", {}).get("cidr") == cidr and component(policy) == "tool"
    ]
    held = METADATA_IPV6 in ip_network(cidr)
    assert excepted == ([["fd00:ec2::254/128"]] if held else [None])


@pytest.mark.parametrize(
    "cidr", ["10.0.0.0/8", "169.255.0.0/16", "192.0.2.1/32", "2001:db8::/32", "fd01::/16", "::1/128"]
)
def test_other_blocks_stay_what_they_are(cidr: str) -> None:
    found = manifests("production", values=tool_may(f"to: [{{ipBlock: {{cidr: '{cidr}'}}}}]"))

    blocks = [
        peer["ipBlock"]
        for policy in policies(found)
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert {"cidr": cidr} in blocks


@pytest.mark.parametrize("cidr", ["169.254.169.254/32", "169.254.0.0/16", "169.254.128.0/17", "fd00:ec2::254/128"])
def test_a_rule_to_metadata_is_refused(cidr: str) -> None:
    with pytest.raises(RenderError, match=r"which networkPolicy\.metadataAddresses refuses"):
        manifests("production", values=tool_may(f"to: [{{ipBlock: {{cidr: '{cidr}'}}}}]"))


@pytest.mark.parametrize("cidr", ["10.0.0.1", "fd00::", "10.0.0/8", "example.com", "10.0.0.0/"])
@pytest.mark.parametrize("field", ["cidr: '{}'", "cidr: 0.0.0.0/0, except: ['{}']"])
def test_an_address_that_is_no_block_is_refused_with_its_path(field: str, cidr: str) -> None:
    with pytest.raises(RenderError, match=r"at '/networkPolicy/egress/tool/0/to/0/ipBlock/.* does not match pattern"):
        manifests("production", values=tool_may(f"to: [{{ipBlock: {{{field.format(cidr)}}}}}]"))


def test_dns_is_reached_where_and_on_what_port_it_is_said_to_be() -> None:
    values = "networkPolicy: {dns: [{ipBlock: {cidr: 169.254.20.10/32}}], dnsPorts: [53, 5353]}"

    for policy in policies(manifests("production", values=values)):
        rules = [each for each in policy["spec"].get("egress", []) if each["ports"][0]["protocol"] == "UDP"]
        for rule in rules:
            assert rule["to"] == [{"ipBlock": {"cidr": "169.254.20.10/32"}}]
            assert [(each["protocol"], each["port"]) for each in rule["ports"]] == [
                ("UDP", 53),
                ("TCP", 53),
                ("UDP", 5353),
                ("TCP", 5353),
            ]
        assert len(rules) == ("egress" in policy["spec"])


def test_a_migration_that_is_a_hook_has_its_way_to_the_database_before_it_runs(
    production: list[Manifest], development: list[Manifest]
) -> None:
    [of_hook], [of_job] = (
        [each for each in policies(found) if component(each) == "migration"] for found in (production, development)
    )

    assert is_early(of_hook)
    assert not is_early(of_job)
    deletion = of_hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    assert deletion == "before-hook-creation,hook-succeeded"


def test_a_rule_to_everywhere_is_refused() -> None:
    with pytest.raises(RenderError, match="missing property 'to'"):
        manifests("production", values=tool_may("ports: [{port: 443}]"))


def tool_may(rule: str) -> str:
    return f"networkPolicy: {{egress: {{tool: [{{{rule}}}]}}}}"


def reaches(block: dict[str, Any], address: str) -> bool:
    target = ip_address(address)
    held = [cidr for cidr in (block["cidr"], *block.get("except", [])) if target in ip_network(cidr)]
    return held == [block["cidr"]]


def policies(found: list[Manifest]) -> list[Manifest]:
    return of_kind(found, "NetworkPolicy")


def edges_out(found: list[Manifest]) -> set[Edge]:
    return {
        (component(policy), peer_name(peer), port["port"])
        for policy in policies(found)
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        for port in rule["ports"]
    }


def edges_in(found: list[Manifest]) -> set[Edge]:
    return {
        (peer_name(peer), component(policy), port["port"])
        for policy in policies(found)
        for rule in policy["spec"].get("ingress", [])
        for peer in rule.get("from", [{}])
        for port in rule["ports"]
    }


def peer_name(peer: dict[str, Any]) -> str:
    if "ipBlock" in peer:
        return "address"
    if "namespaceSelector" in peer:
        is_dns = peer.get("podSelector", {}).get("matchLabels") == {"k8s-app": "kube-dns"}
        labels = peer["namespaceSelector"].get("matchLabels", {})
        return "dns" if is_dns else str(labels.get("kubernetes.io/metadata.name", "any namespace"))
    if "podSelector" in peer:
        return str(peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"])
    return "anyone"
