"""What is kept of a failure: objects, events, logs."""

from __future__ import annotations

import os
from pathlib import Path

from e2e.node import ROOT, Node
from e2e.release import NAMESPACE

FOLDER = Path(os.environ.get("FLOTILLA_E2E_EVIDENCE", ROOT / "build" / "e2e"))


def collect(node: Node, name: str) -> Path:
    """Writes down the state of every namespace of ours and returns the folder."""
    folder = FOLDER / name
    for namespace in node.try_kubectl("get", "namespaces", "-o", "name").stdout.split():
        if namespace.startswith(f"namespace/{NAMESPACE}"):
            _collect(node, namespace.removeprefix("namespace/"), folder)
    return folder


def _collect(node: Node, namespace: str, folder: Path) -> None:
    folder = folder / namespace
    folder.mkdir(parents=True, exist_ok=True)
    here = ("--namespace", namespace)
    _keep(folder / "objects.txt", node, *here, "get", "all,hpa,pdb,networkpolicy,ingress,cm,pvc", "-o", "wide")
    _keep(folder / "events.txt", node, *here, "get", "events", "--sort-by=.lastTimestamp")
    _keep(folder / "describe.txt", node, *here, "describe", "pods")
    _keep(folder / "top.txt", node, *here, "top", "pods")
    for pod in node.try_kubectl(*here, "get", "pods", "-o", "name").stdout.split():
        logs = ("logs", pod, "--all-containers", "--prefix", "--tail=4000")
        _keep(folder / f"{pod.removeprefix('pod/')}.log", node, *here, *logs)
        _keep(folder / f"{pod.removeprefix('pod/')}.previous.log", node, *here, *logs, "--previous")


def _keep(file: Path, node: Node, *arguments: str) -> None:
    said = node.try_kubectl(*arguments).said
    if not (file.name.endswith(".previous.log") and "previous terminated container" in said):
        file.write_text(said)
