"""The images under test, named by what they are made from: whoever builds the same twice builds once."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.command import must, run
from e2e.node import ROOT, SCRIPTS, Node, in_builder, in_image_store

SERVICES = ("gateway", "orchestrator", "memory", "tool", "evaluator")
REPOSITORY = "localhost/flotilla-e2e"
STORES = ("postgres", "redis")
SOURCES = (".dockerignore", "requirements.lock", "libs", "services")


@dataclass(frozen=True, slots=True)
class Images:
    """Two versions of all services, in the node."""

    first: str
    """Tag of the version that is installed."""
    second: str
    """Tag of the version that is upgraded to."""
    stores: dict[str, str]
    """Images of the stores; empty where the chart's own can be pulled."""

    def values(self) -> dict[str, Any]:
        """Returns the chart's values for the first version."""
        values: dict[str, Any] = {"image": {"repository": REPOSITORY, "tag": self.first}}
        if self.stores:
            values["postgres"] = {"image": self.stores["postgres"]}
            values["valkey"] = {"image": self.stores["redis"], "command": ["redis-server"]}
        return values


def prepare_images(node: Node) -> Images:
    """Builds what is not built yet, loads what is not loaded yet, and forgets what earlier sources made."""
    steps_before = set() if node.is_given else _build_steps()
    with tempfile.TemporaryDirectory() as folder:
        # A copy, because sources that are being edited must not make the two versions differ.
        _copy_sources(Path(folder))
        tag = os.environ.get("FLOTILLA_E2E_TAG") or _hash(Path(folder))
        first, second = f"{tag}-a", f"{tag}-b"
        wanted = [_build(node, Path(folder), service, version) for version in (first, second) for service in SERVICES]
    stores = {} if node.is_given else {store: _build_store(node, store) for store in STORES}
    wanted += stores.values()
    _load(node, wanted)
    if not node.is_given:
        _forget_all_but(set(wanted))
        if _build_steps() - steps_before:
            # What the new ones share with the old stays, so the next build still starts from the installed wheels.
            in_builder(["rmi", *steps_before])
    return Images(first, second, stores)


def sizes_mb(images: Images) -> dict[str, int]:
    """Returns the size of each service's image, unpacked, as its builder tells it."""
    listed = must(in_builder(["images", "--format", "{{.Name}}:{{.Tag}} {{.Size}}"])).stdout.splitlines()
    sizes = dict(line.split(" ", 1) for line in listed)
    return {service: int(float(sizes[f"{REPOSITORY}/{service}:{images.first}"].split()[0])) for service in SERVICES}


def layers(images: Images) -> dict[str, int]:
    """Returns how many layers each service's image has, those of its base among them."""
    count = ["inspect", "--type", "image", "--format", "{{len .OCIv1.RootFS.DiffIDs}}"]
    return {
        service: int(must(in_builder([*count, f"{REPOSITORY}/{service}:{images.first}"])).stdout)
        for service in SERVICES
    }


def _copy_sources(folder: Path) -> None:
    for source in SOURCES:
        place = folder / source
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "cli"))
        else:
            shutil.copy2(ROOT / source, place)


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _build(node: Node, sources: Path, service: str, tag: str) -> str:
    name = f"{REPOSITORY}/{service}:{tag}"
    arguments = ["--build-arg", f"SERVICE={service}", "--build-arg", f"VERSION={tag}"]
    return _built(node, name, ["-f", str(sources / "services/Dockerfile"), *arguments, "-t", name, str(sources)])


def _build_store(node: Node, store: str) -> str:
    folder = SCRIPTS / "images" / store
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.iterdir()))).hexdigest()[:12]
    name = f"{REPOSITORY}/{store}:{digest}"
    return _built(node, name, ["-t", name, str(folder)])


def _built(node: Node, name: str, arguments: list[str]) -> str:
    own = str(SCRIPTS / "image-build")
    builder = os.environ.get("FLOTILLA_E2E_IMAGE_BUILDER", "docker build" if node.is_given else own)
    look = (
        run("docker", "image", "inspect", name) if node.is_given else in_builder(["inspect", "--type", "image", name])
    )
    if look.status:
        must(run(*shlex.split(builder), *arguments, timeout_s=1200))
    return name


def _load(node: Node, names: list[str]) -> None:
    if node.is_given:
        loader = os.environ.get("FLOTILLA_E2E_IMAGE_LOADER", "kind load docker-image")
        must(run(*shlex.split(loader), *names, env=node.env, timeout_s=1200))
    else:
        must(run(str(SCRIPTS / "image-load"), *names, timeout_s=1200))


def _build_steps() -> set[str]:
    """Returns the ids of what builds left without a name."""
    return set(must(in_builder(["images", "--quiet", "--no-trunc", "--filter", "dangling=true"])).stdout.split())


def _forget_all_but(wanted: set[str]) -> None:
    """Every version is some gigabytes."""
    built = must(in_builder(["images", "--format", "{{.Name}}:{{.Tag}}"])).stdout.split()
    for name in sorted(set(built) - wanted):
        if name.startswith(f"{REPOSITORY}/"):
            must(in_builder(["rmi", "--force", name]))
    loaded = must(in_image_store(["images", "ls"])).stdout.splitlines()[1:]
    digests = {fields[0]: fields[2] for fields in map(str.split, loaded)}
    if old := _unwanted(digests, wanted):
        must(in_image_store(["images", "rm", *old]))


def _unwanted(digests: Mapping[str, str], wanted: Collection[str]) -> list[str]:
    """Returns the names of ours that nobody wants, and the ids under which the kubelet knows what no name is left for.

    digests: of the images in the node's store, by name; an id is a name too, and keeps its image as names do.
    """
    old = {name for name in digests if name.startswith(f"{REPOSITORY}/") and name not in wanted}
    kept = {digest for name, digest in digests.items() if name not in old and not name.startswith("sha256:")}
    return sorted(old | {name for name, digest in digests.items() if name.startswith("sha256:") and digest not in kept})
