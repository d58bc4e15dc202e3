"""Alerts fire when they should, and rules and dashboard name only metrics that the services have."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry
from render import CHART, ROOT, Manifest, helm_template, named, of_kind, run_helm

RULES_TEST = Path(__file__).parent / "rules_test.yaml"
_METRIC = re.compile(r"\b(?:flotilla_[a-z_]+|process_[a-z_]+|up)\b(?=\{|\[|$|\))")
_DEFINED = re.compile(r"(Counter|Histogram|Gauge)\(\s*\"(flotilla_[a-z_]+)\"")
_SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}
# Made by the instrumentation of the gateway's HTTP server, and by the client library for every process.
_FROM_LIBRARIES = {
    "flotilla_gateway_http_requests_total",
    "flotilla_gateway_http_request_duration_highr_seconds_bucket",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "up",
}


def test_alerts_fire_when_they_should(production: list[Manifest], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(named(production, "PrometheusRule", "flotilla")["spec"]))
    (tmp_path / "test.yaml").write_text(RULES_TEST.read_text())

    assert "SUCCESS" in promtool("check", "rules", str(tmp_path / "rules.yaml"))
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "test.yaml"))


def test_rules_name_metrics_that_there_are(production: list[Manifest]) -> None:
    used = {
        metric
        for group in named(production, "PrometheusRule", "flotilla")["spec"]["groups"]
        for rule in group["rules"]
        for metric in _METRIC.findall(rule["expr"])
    }

    assert len(used) > 10
    assert used <= defined()


def test_the_dashboard_names_metrics_that_there_are(production: list[Manifest]) -> None:
    text = named(production, "ConfigMap", "flotilla-dashboard")["data"]["flotilla-overview.json"]
    queries = [target["expr"] for panel in json.loads(text)["panels"] for target in panel.get("targets", [])]
    used = {metric for query in queries for metric in _METRIC.findall(query)}

    assert len(used) > 20
    assert used <= defined()


def test_the_pod_monitor_scrapes_the_five_services(production: list[Manifest]) -> None:
    spec = named(production, "PodMonitor", "flotilla")["spec"]

    [expression] = spec["selector"]["matchExpressions"]
    assert expression["values"] == ["evaluator", "gateway", "memory", "orchestrator", "tool"]
    [endpoint] = spec["podMetricsEndpoints"]
    assert {each["targetLabel"] for each in endpoint["relabelings"]} == {"release", "component", "color", "version"}


def test_without_the_operator_there_is_a_dashboard_alone() -> None:
    arguments = ["-f", str(CHART / "ci/production-values.yaml"), "--kube-version", "1.34.0"]
    found = [each for each in yaml.safe_load_all(run_helm("template", "flotilla", str(CHART), *arguments)) if each]

    assert of_kind(found, "PodMonitor", "PrometheusRule") == []
    assert named(found, "ConfigMap", "flotilla-dashboard")["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_nothing_is_drawn_while_monitoring_is_off() -> None:
    text = helm_template("development")

    assert not re.search(r"kind: (PodMonitor|PrometheusRule)", text)
    assert "grafana_dashboard" not in text


def defined() -> set[str]:
    """Returns the series that the services' sources define."""
    names = set(_FROM_LIBRARIES)
    for file in (*ROOT.glob("services/*/flotilla_*/**/*.py"), *ROOT.glob("libs/*/flotilla_*/**/*.py")):
        for kind, name in _DEFINED.findall(file.read_text()):
            names |= {f"{name.removesuffix('_total')}{suffix}" for suffix in _SUFFIXES[kind]}
    return names


@pytest.mark.parametrize("name", ["process_cpu_seconds_total", "process_resident_memory_bytes"])
def test_the_client_library_has_its_own_series(name: str) -> None:
    registry: CollectorRegistry = REGISTRY

    assert registry.get_sample_value(name) is not None


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
