"""Renders the chart with Helm as its users do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/flotilla"
GOLDEN = Path(__file__).parent / "golden"
DEVELOPMENT = CHART / "values-development.yaml"
CASES = {
    "development": DEVELOPMENT,
    "production": CHART / "ci/production-values.yaml",
    "two-colours": CHART / "ci/two-colours-values.yaml",
}
"""What is rendered and kept: name → values."""
MONITORING_API = "monitoring.coreos.com/v1"

Manifest = dict[str, Any]


class RenderError(Exception):
    """Helm refused, and said why."""


def helm_template(case: str, *more: str, release: str = "flotilla", values: str = "") -> str:
    """Returns the text of all manifests of a case; raises RenderError with Helm's message.

    more: further arguments, such as `--set appEnv=test`.
    values: YAML over the case's own.
    """
    arguments = [release, str(CHART), "--namespace", "agents", "-f", str(CASES[case]), "-f", "-"]
    return run_helm(
        "template", *arguments, "--kube-version", "1.34.0", "--api-versions", MONITORING_API, *more, text=values
    )


def run_helm(*arguments: str, text: str = "") -> str:
    """Returns what Helm prints; raises RenderError with its message."""
    command = [os.environ.get("HELM", "helm"), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RenderError(done.stderr)
    return done.stdout


def manifests(case: str, *more: str, release: str = "flotilla", values: str = "") -> list[Manifest]:
    """Returns the manifests of a case."""
    return parse(helm_template(case, *more, release=release, values=values))


def parse(text: str) -> list[Manifest]:
    """Returns the documents of a text, without the empty ones."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def of_kind(found: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    """Returns the manifests of some kinds."""
    return [manifest for manifest in found if manifest["kind"] in kinds]


def named(found: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """Returns the one manifest of a kind and name."""
    [manifest] = [each for each in of_kind(found, kind) if each["metadata"]["name"] == name]
    return manifest
