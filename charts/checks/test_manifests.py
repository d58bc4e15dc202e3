"""Every manifest is valid for the cluster's own schemas."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from render import CASES, ROOT, helm_template

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.mark.parametrize("case", list(CASES))
def test_manifests_are_valid(case: str) -> None:
    assert conforming(helm_template(case)) == ""


def test_a_wrong_field_is_found() -> None:
    text = helm_template("development").replace("enableServiceLinks", "enableServiceLink")

    assert "additional properties 'enableServiceLink' not allowed" in conforming(text)


def test_what_lies_beside_the_chart_is_valid() -> None:
    assert conforming((ROOT / "k8s/namespace.yaml").read_text()) == ""


def conforming(text: str) -> str:
    """Returns what kubeconform finds; it is silent when all is well. A kind without a schema is a finding."""
    location = f"{SCHEMAS}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    command = ["kubeconform", "-strict", "-schema-location", location]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
