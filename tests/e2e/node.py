"""The Kubernetes that the tests run on: the one that KUBECONFIG names, or a node of our own."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Outcome, must, run

_log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(os.environ.get("FLOTILLA_E2E_CLUSTER", ROOT.parent / "shared" / "cluster"))
"""Scripts that start and stop a node: `up`, `down`, `status`, `image-build`, `image-load`."""


@dataclass(frozen=True, slots=True)
class Node:
    """A cluster that answers."""

    env: dict[str, str]
    is_given: bool
    """Somebody else's, named by KUBECONFIG, rather than the one of SCRIPTS."""
    url: str
    """Where its ingress controller listens on this machine."""
    helm_program: str = os.environ.get("FLOTILLA_E2E_HELM", "helm")

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 300) -> str:
        """Returns what kubectl prints. Raises CommandFailed."""
        return must(self.try_kubectl(*arguments, stdin=stdin, timeout_s=timeout_s)).stdout

    def try_kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 300) -> Outcome:
        """Runs kubectl, which may fail."""
        return run("kubectl", *arguments, env=self.env, stdin=stdin, timeout_s=timeout_s)

    def get(self, *arguments: str) -> Any:
        """Returns what `kubectl get` shows, as JSON."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def helm(self, *arguments: str, timeout_s: float = 900) -> Outcome:
        """Runs helm (or what FLOTILLA_E2E_HELM names), which may fail."""
        return run(self.helm_program, *arguments, env=self.env, timeout_s=timeout_s)

    def with_helm(self, program: str, folder: Path) -> Node:
        """Returns the same cluster for somebody whose `helm`, the first on the PATH, is this program."""
        path = self.env.get("PATH", os.environ["PATH"])
        found = shutil.which(program, path=path)
        assert found is not None, f"there is no {program}"
        (folder / "helm").symlink_to(found)
        return replace(self, env={**self.env, "PATH": f"{folder}:{path}"}, helm_program=str(folder / "helm"))

    def kill_container(self, container_id: str) -> None:
        """Ends a container's first process with SIGKILL, from outside: nobody in the pod hears of it."""
        if self.is_given:
            killer = os.environ.get("FLOTILLA_E2E_KILLER")
            if killer is None:
                pytest.skip("FLOTILLA_E2E_KILLER names no command that kills a container by its id")
            must(run(*shlex.split(killer), container_id))
        else:
            must(_in_scripts(f"ctr_ task kill --signal SIGKILL {shlex.quote(container_id.split('//')[-1])}"))


@contextmanager
def running_node() -> Iterator[Node]:
    """Yields the cluster of KUBECONFIG, or starts a node and stops it in the end; a node that runs already is kept."""
    url = os.environ.get(
        "FLOTILLA_E2E_URL", f"http://127.0.0.1:{os.environ.get('FLOTILLA_CLUSTER_HTTP_PORT', '18080')}"
    )
    if kubeconfig := os.environ.get("KUBECONFIG"):
        yield Node({"KUBECONFIG": kubeconfig}, is_given=True, url=url)
        return
    if not (SCRIPTS / "up").exists():
        pytest.skip("there is no cluster: set KUBECONFIG")
    was_up = run(str(SCRIPTS / "status")).status == 0
    try:
        if not was_up:
            _start()
        yield Node(_own_environment(), is_given=False, url=url)
    finally:
        if not was_up:
            must(run(str(SCRIPTS / "down")))


def _start() -> None:
    """Starts the node, once more if it was late: the first start of a machine reads every program from disk."""
    first = run(str(SCRIPTS / "up"), timeout_s=1800)
    if first.status:
        _log.warning("the node is started once more: %s", first.said[-2000:])
        must(run(str(SCRIPTS / "down")))
        must(run(str(SCRIPTS / "up"), timeout_s=1800))


def _own_environment() -> dict[str, str]:
    programs, kubeconfig = must(_in_scripts('echo "$bin"; echo "$kubeconfig"')).stdout.split()
    return {"KUBECONFIG": kubeconfig, "PATH": f"{programs}:{os.environ['PATH']}"}


def _in_scripts(command: str) -> Outcome:
    """Runs a shell command that knows the node's names and functions."""
    return run("bash", "-c", f'. "$0/lib.sh"; {command}', str(SCRIPTS))


def in_builder(command: Sequence[str]) -> Outcome:
    """Runs buildah on the node's own image store."""
    return _in_scripts(f"buildah_ {shlex.join(command)}")


def in_image_store(command: Sequence[str]) -> Outcome:
    """Runs ctr on the node's containerd."""
    return _in_scripts(f"ctr_ {shlex.join(command)}")
