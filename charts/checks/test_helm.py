"""What Helm makes of the chart does not depend on which Helm it is, and what is released installs as it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from render import CASES, CHART, DEVELOPMENT, ROOT, helm_template, of_kind, parse, run_helm

HELMS = ("helm", "helm4")
REGISTRY = "registry.test/team"
DIGEST = "sha256:" + "5" * 64


@pytest.mark.parametrize("case", list(CASES))
def test_both_helms_render_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for helm in HELMS:
        monkeypatch.setenv("HELM", helm)
        texts.append([line for line in helm_template(case).splitlines() if line.strip()])

    assert texts[0] == texts[1]


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("helm", HELMS)
def test_helm_lint_finds_nothing(helm: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELM", helm)

    found = run_helm("lint", "--strict", "--quiet", "--kube-version", "1.34.0", str(CHART), "-f", str(CASES[case]))

    assert found.strip() == ""


@pytest.mark.parametrize("helm", HELMS)
def test_the_package_names_the_images_that_were_pushed(helm: str, tmp_path: Path) -> None:
    pushed = f'image:\n  registry: {REGISTRY}\n  tag: "1.2.3"\n  digests:\n    gateway: {DIGEST}\n'
    (tmp_path / "image-digests.yaml").write_text(pushed)

    package(tmp_path)

    images = images_of(tmp_path, helm)
    assert f"{REGISTRY}/flotilla/gateway@{DIGEST}" in images
    assert f"{REGISTRY}/flotilla/memory:1.2.3" in images
    assert all(image.startswith(f"{REGISTRY}/flotilla/") for image in images)


def test_the_package_names_tags_where_no_digest_is_known(tmp_path: Path) -> None:
    package(tmp_path)

    assert f"{REGISTRY}/flotilla/gateway:1.2.3" in images_of(tmp_path, "helm")


def test_digests_of_another_version_are_refused(tmp_path: Path) -> None:
    pushed = f'image:\n  registry: {REGISTRY}\n  tag: "1.2.2"\n  digests:\n    gateway: {DIGEST}\n'
    (tmp_path / "image-digests.yaml").write_text(pushed)

    with pytest.raises(subprocess.CalledProcessError) as refused:
        package(tmp_path)

    assert "is not of 1.2.3" in refused.value.stderr


def package(folder: Path) -> None:
    """Packages the chart as 1.2.3 into the folder, which may have the digests of what was pushed."""
    environment = {**os.environ, "REGISTRY": REGISTRY, "VERSION": "1.2.3"}
    command = [str(ROOT / "charts/package"), str(folder)]
    subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def images_of(folder: Path, helm: str) -> set[str]:
    """Returns the services' images in what was packaged there, with values that name none."""
    package = str(folder / "flotilla-1.2.3.tgz")
    command = [helm, "template", "flotilla", package, "--values", str(DEVELOPMENT), "--kube-version", "1.34.0"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        container["image"]
        for manifest in of_kind(parse(text), "Deployment")
        for container in manifest["spec"]["template"]["spec"]["containers"]
    }
