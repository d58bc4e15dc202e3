"""Values: closed, documented, and refused with their path when they are wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from render import CASES, CHART, RenderError, helm_template, manifests, parse, run_helm
from values_reference import undocumented
from workloads import containers, pod_spec, pods

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def test_every_value_is_documented() -> None:
    assert undocumented(CHART / "values.yaml") == []


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    described = {
        path for path in paths_of_schema(SCHEMA) if not path.startswith(("global", "services.", "defaults.resources."))
    }
    given = {path for path in paths_of(VALUES) if not path.startswith("services.")}

    assert given - described - free(given) == set()
    assert {path for path in described if path not in given and not has_parent(path, given)} == set()


def test_the_schema_is_closed() -> None:
    open_ones = [
        name
        for name, schema in objects(SCHEMA)
        if "properties" in schema and schema.get("additionalProperties") is not False
    ]

    # A rule's inner part is Kubernetes' own and an `if` describes nothing.
    assert [name for name in open_ones if "/if" not in name and "/then" not in name] == []


@pytest.mark.parametrize(
    ("case", "values", "message"),
    [
        ("development", "{replicas: 3}", "additional properties 'replicas' not allowed"),
        ("development", "{services: {memory: {replica: 3}}}", "at '/services/memory': additional properties 'replica'"),
        ("development", "{services: {mail: {}}}", "at '/services': additional properties 'mail' not allowed"),
        ("development", "{defaults: {replicas: two}}", "at '/defaults/replicas': got string, want integer"),
        ("development", "{defaults: {logLevel: info}}", "at '/defaults/logLevel': value must be one of"),
        ("development", "{image: {tag: 'a b'}}", "at '/image/tag': 'a b' does not match pattern"),
        ("development", "{image: {digests: {tool: 'sha256:1'}}}", "at '/image/digests/tool'"),
        ("development", "{rollout: {colors: {turquoise: {enabled: false}}}}", "at '/rollout/colors'"),
        ("development", "{services: {tool: {env: {tool-cap: 1}}}}", "at '/services/tool/env'"),
        ("development", "{agents: {files: {../x.yaml: ''}}}", "at '/agents/files'"),
        ("development", "{secrets: {development: {adminKey: secret}}}", "at '/secrets/development/adminKey'"),
        ("production", "{model: {baseUrl: api.openai.com}}", "at '/model/baseUrl'"),
        ("production", "{model: {baseUrl: '', routes: {}}}", "no model is named: set model.baseUrl and model.name"),
        ("production", "{httpRoute: {parentRefs: []}}", "at '/httpRoute/parentRefs'"),
        ("production", "{networkPolicy: {dns: []}}", "at '/networkPolicy/dns'"),
        ("development", "{agents: {builtIn: false}}", "there is no agent: set agents.builtIn=true"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_with_their_path(case: str, values: str, message: str) -> None:
    with pytest.raises(RenderError) as refused:
        helm_template(case, values=values)

    assert message in str(refused.value)


@pytest.mark.parametrize("case", list(CASES))
def test_helm_lint_finds_nothing(case: str) -> None:
    found = run_helm("lint", str(CHART), "-f", str(CASES[case]), "--kube-version", "1.34.0", "--strict")

    assert "0 chart(s) failed" in found


def test_the_notes_say_how_to_reach_it(tmp_path: Path) -> None:
    found = notes("development", tmp_path)

    assert "http://flotilla.localhost" in found
    assert "THE SECRETS OF THIS RELEASE ARE PUBLIC" in found
    assert "kubectl -n default delete pvc data-flotilla-postgres-0" in found


def test_the_notes_name_the_hosts_of_what_is_published(tmp_path: Path) -> None:
    found = notes("production", tmp_path, "ingress: {enabled: false, hosts: [unused.example.com]}")

    assert "https://agents.example.com (http:// if the Gateway's listener has no TLS)" in found
    assert "unused.example.com" not in found


def notes(case: str, folder: Path, values: str = "") -> str:
    """Returns the notes; Helm writes them only where it can ask a cluster, so here a manifest holds them."""
    shutil.copytree(CHART, folder / "flotilla")
    (folder / "flotilla/templates/notes.yaml").write_text('notes: {{ include "flotilla.notes" . | quote }}')
    arguments = ["-f", str(CASES[case]), "-f", "-", "--kube-version", "1.34.0", "-s", "templates/notes.yaml"]
    [found] = parse(run_helm("template", "flotilla", str(folder / "flotilla"), *arguments, text=values))
    return str(found["notes"])


@pytest.mark.parametrize("case", list(CASES))
def test_values_of_an_earlier_chart_render(case: str) -> None:
    # --reuse-values leaves away what the chart of the release did not have.
    newer = ("caBundle", "networkPolicy.dnsPorts", "preflight.resources", "smokeTest.resources")

    found = manifests(case, "--set", ",".join(f"{value}=null" for value in newer))

    assert len(found) == len(manifests(case))
    for workload in pods(found):
        assert all("memory" in each["resources"]["limits"] for each in containers(pod_spec(workload)))


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    return SCHEMA["$defs"][reference.rsplit("/", 1)[1]] if reference else schema


def paths_of_schema(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, part in resolve(schema).get("properties", {}).items():
        name = f"{path}.{key}" if path else key
        yield name
        yield from paths_of_schema(part, name)


def paths_of(tree: Any, path: str = "") -> Iterator[str]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        name = f"{path}.{key}" if path else key
        yield name
        yield from paths_of(value, name)


def free(given: set[str]) -> set[str]:
    """Returns the paths below values whose keys are the user's."""
    parents = (
        "rollout.colors.",
        "defaults.resources.",
        "postgres.settings.",
        "monitoring.labels.",
        "monitoring.dashboard.labels.",
    )
    return {path for path in given if path.startswith(parents) or ".resources." in path}


def has_parent(path: str, given: set[str]) -> bool:
    """Whether a parent of the path is given as a whole, so that the path itself may be left out."""
    optional = ("image.digests", "image.tags", "defaults.autoscaling.scaleUp", "defaults.autoscaling.scaleDown")
    return path.startswith(optional) or ".resources" in path


def objects(schema: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        yield name, schema
        for key, part in schema.items():
            if key not in ("properties", "$defs"):
                yield from objects(part, f"{name}/{key}")
            else:
                for inner, value in part.items():
                    yield from objects(value, f"{name}/{inner}")
