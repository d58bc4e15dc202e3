"""Writes schemas/: JSON schemas of the kinds that the chart renders, from the Go modules that define them.

Run by hand when a kind or a version changes: `python charts/checks/vendor_schemas.py` (needs Go and its proxy).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = "k8s.io/kubernetes@v1.34.4"
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.4.0"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
OUT = Path(__file__).parent / "schemas"
KINDS = (
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.StatefulSet",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.networking.v1.Ingress",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
)
CUSTOM = (
    (GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    (PROMETHEUS_OPERATOR, "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"),
    (PROMETHEUS_OPERATOR, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"),
)
_KEPT = ("items", "additionalProperties", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems")
_DEFINITIONS = "_definitions.json"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def main() -> None:
    """Replaces all schemas."""
    swagger = json.loads((_module(KUBERNETES) / "api/openapi-spec/swagger.json").read_text())["definitions"]
    OUT.mkdir(exist_ok=True)
    for old in OUT.glob("*.json"):
        old.unlink()
    needed = _reachable(swagger, [*KINDS, _META])
    _write(_DEFINITIONS, {"definitions": {name: _strict(swagger[name]) for name in sorted(needed)}})
    for name in KINDS:
        group, version, kind = (
            swagger[name]["x-kubernetes-group-version-kind"][0][k] for k in ("group", "version", "kind")
        )
        _write(_file_name(kind, group, version), {"$ref": f"{_DEFINITIONS}#/definitions/{name}"})
    for module, path in CUSTOM:
        _write_custom(yaml.safe_load((_module(module) / path).read_text())["spec"])


def _module(name: str) -> Path:
    command = ["go", "mod", "download", "-json", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(json.loads(done.stdout)["Dir"])


def _write(name: str, schema: Any) -> None:
    (OUT / name).write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


def _file_name(kind: str, group: str, version: str) -> str:
    return "-".join(part for part in (kind, group.split(".")[0], version) if part).lower() + ".json"


def _write_custom(spec: dict[str, Any]) -> None:
    version = next(version for version in spec["versions"] if version["storage"])
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"$ref": f"{_DEFINITIONS}#/definitions/{_META}"}
    _write(_file_name(spec["names"]["kind"], spec["group"], version["name"]), schema)


def _reachable(definitions: dict[str, Any], names: list[str]) -> set[str]:
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            names.extend(_references(definitions[name]))
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.rsplit("/", 1)[1]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _strict(schema: Any) -> Any:
    """Returns the schema without words, with unknown fields refused."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[1]
        return {"type": ["string", "number"]} if name.endswith(".Quantity") else {"$ref": f"#/definitions/{name}"}
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    kept = {
        key: _strict(value) if key in ("items", "additionalProperties") else value
        for key, value in schema.items()
        if key in _KEPT
    }
    if kind := schema.get("type"):
        kept["type"] = kind
    if properties := schema.get("properties"):
        kept["type"] = "object"
        kept["properties"] = {key: _strict(value) for key, value in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            kept["additionalProperties"] = False
    if required := schema.get("required"):
        kept["required"] = required
    return kept


if __name__ == "__main__":
    main()
