"""Checks skaffold.yaml: against skaffold's own schema, and that what it names is there and reaches the chart.

The schema is the one of skaffold's Go module, whose sum Go checks. It is that of v4beta13: v4beta14 reads all that
v4beta13 reads, and came with a release that cannot be built from its module alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from render import ROOT, parse, run_helm

MODULE = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"
VERSION, SCHEMA = "skaffold/v4beta14", "docs-v2/content/en/schemas/v4beta13.json"
SERVICES = ("gateway", "orchestrator", "memory", "tool", "evaluator")
PROFILES = ("dev", "monitoring", "ci", "prod")
_TEMPLATE = re.compile(r"\.IMAGE_(REPO|TAG|DIGEST)_flotilla_(\w+)")
_TRIMMED = re.compile(r'\{\{ trimSuffix "(.+?)" (\S+) \}\}')
_DIGEST = "sha256:" + "0" * 64

Config = dict[str, Any]


def main() -> None:
    """Prints what is wrong; the exit status says whether anything is."""
    config: Config = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    faults = [*_against_schema(config), *_artifacts(config), *_profiles(config)]
    for section in (config, *config["profiles"]):
        for release in section.get("deploy", {}).get("helm", {}).get("releases", []):
            faults += [f"{section.get('name', 'deploy')}: {fault}" for fault in _release(release)]
    count = len(config["build"]["artifacts"])
    sys.stdout.write(("\n".join(faults) or f"skaffold.yaml: {count} artifacts, {len(PROFILES)} profiles") + "\n")
    sys.exit(bool(faults))


def _against_schema(config: Config) -> Iterator[str]:
    if config["apiVersion"] != VERSION:
        yield f"apiVersion: {config['apiVersion']} is not {VERSION}"
    schema = json.loads((_download() / SCHEMA).read_text())
    known = json.loads(json.dumps(config).replace(VERSION, f"skaffold/{Path(SCHEMA).stem}"))
    for error in jsonschema.Draft7Validator(schema).iter_errors(known):
        deepest = jsonschema.exceptions.best_match([error])
        yield f"{deepest.json_path}: {deepest.message}"


def _download() -> Path:
    command = ["go", "mod", "download", "-json", MODULE]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode != 0:
        raise SystemExit(f"go mod download {MODULE} failed: {done.stderr or done.stdout}")
    return Path(json.loads(done.stdout)["Dir"])


def _artifacts(config: Config) -> Iterator[str]:
    built = {artifact["image"]: artifact["docker"] for artifact in config["build"]["artifacts"]}
    wanted = {f"flotilla/{service}": service for service in SERVICES}
    if list(built) != list(wanted):
        yield f"build.artifacts: {list(built)}, not {list(wanted)}"
    for image, docker in built.items():
        if not (ROOT / docker["dockerfile"]).is_file():
            yield f"{image}: there is no {docker['dockerfile']}"
        if docker["buildArgs"] != {"SERVICE": wanted.get(image)}:
            yield f"{image}: is built with {docker['buildArgs']}"


def _profiles(config: Config) -> Iterator[str]:
    names = tuple(profile["name"] for profile in config["profiles"])
    if names != PROFILES:
        yield f"profiles: {names}, not {PROFILES}"
    yield from (
        f"profile {profile['name']}: patches by index" for profile in config["profiles"] if "patches" in profile
    )


def _release(release: Config) -> Iterator[str]:
    files = [file for file in release.get("valuesFiles", []) if "{{" not in file]
    missing = [file for file in files if not (ROOT / file).is_file()]
    yield from (f"there is no {file}" for file in missing)
    if missing or "chartPath" not in release:
        return
    for digest in ("", _DIGEST):
        yield from _rendered(release, files, digest)


def _rendered(release: Config, files: list[str], digest: str) -> Iterator[str]:
    """Fills the templates in as skaffold does, with names of its own making, and looks for these in the manifests."""
    if not files:
        files = ["charts/flotilla/ci/production-values.yaml"]
    pairs = {key: _fill(template, digest) for key, template in release["setValueTemplates"].items()}
    pairs |= release.get("setValues", {})
    settings = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
    values = [word for file in files for word in ("--values", str(ROOT / file))]
    text = run_helm("template", release["name"], str(ROOT / release["chartPath"]), *values, *settings)
    images = {
        container["image"]
        for manifest in parse(text)
        if manifest["kind"] == "Deployment"
        for container in manifest["spec"]["template"]["spec"]["containers"]
    }
    for service in SERVICES:
        wanted = f"reg.test/team/flotilla/{service}" + (f"@{digest}" if digest else f":t-{service}")
        if wanted not in images:
            yield f"{release['name']}: {wanted} is not among {sorted(images)}"


def _fill(template: str, digest: str) -> str:
    made = {"REPO": "reg.test/team/flotilla/{}", "TAG": "t-{}", "DIGEST": digest}
    filled = _TEMPLATE.sub(lambda found: made[found[1]].format(found[2]), template)
    filled = _TRIMMED.sub(lambda found: found[2].removesuffix(found[1]), filled)
    return filled.strip("{ }")


if __name__ == "__main__":
    main()
