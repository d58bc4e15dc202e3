"""The helm executable: what it is called with, and what it answers."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flotilla_cli.failure import CommandError
from flotilla_cli.release.model import Revision
from flotilla_cli.release.target import Target

_OLDEST = (3, 18)
_TIMEOUT_S = 60
_KEPT = 30
"""Revisions; one that fails takes up to three, and helm's ten are gone after a few."""
_VERSION = re.compile(r"v(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Helm:
    """A helm of version 3 or 4."""

    executable: str
    major: int

    def read_history(self, target: Target, *, limit: int = 256) -> list[Revision]:
        """Returns the revisions, oldest first; none when there is no such release."""
        found = self._ask(["history", target.release, "--max", str(limit)], target)
        return [_revision(entry) for entry in found or []]

    def read_values(self, target: Target, revision: int) -> dict[str, Any]:
        """Returns the values that were given to a revision."""
        return self._ask(["get", "values", target.release, "--revision", str(revision)], target) or {}

    def at(self, target: Target, *arguments: str) -> list[str]:
        """Returns a whole command for a target."""
        context = ["--kube-context", target.context] if target.context else []
        return [self.executable, *arguments, "--namespace", target.namespace, *context]

    def upgrade_flags(self, timeout: str) -> list[str]:
        """Returns what has an upgrade waited for and, if it fails, undone."""
        return ["--rollback-on-failure" if self.major >= 4 else "--atomic", *self.rollback_flags(timeout)]

    def rollback_flags(self, timeout: str) -> list[str]:
        """Returns what has a rollback waited for."""
        return ["--wait", "--timeout", timeout, "--history-max", str(_KEPT)]

    def _ask(self, arguments: Sequence[str], target: Target) -> Any:
        command = self.at(target, *arguments, "--output", "json")
        done = _run(command)
        if done.returncode == 0:
            return json.loads(done.stdout)
        if "release: not found" in done.stderr:
            return None
        raise CommandError(f"helm {arguments[0]} failed: {first_error(done.stderr)}")


def find_helm() -> Helm:
    """Returns the helm on the PATH. Raises CommandError if there is none, or one that is too old."""
    executable = shutil.which("helm")
    if executable is None:
        raise CommandError("helm is not installed, or not on the PATH", hint="Flotilla needs helm 3.18 or newer, or 4")
    answer = _run([executable, "version", "--short"])
    found = _VERSION.search(answer.stdout)
    if found is None:
        raise CommandError(f"{executable} does not say its version: {first_error(answer.stderr or answer.stdout)}")
    version = int(found[1]), int(found[2])
    if version < _OLDEST:
        raise CommandError(f"helm {found[0]} is too old", hint="Flotilla needs helm 3.18 or newer, or 4")
    return Helm("helm", version[0])


def first_error(stderr: str) -> str:
    """Returns what helm says went wrong, without its prefix and its warnings."""
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith(("WARNING", "level=", "I0"))]
    errors = [index for index, line in enumerate(lines) if line.startswith("Error:")]
    text = "\n".join(lines[errors[0] :] if errors else lines)
    return text.removeprefix("Error: ").strip() or "no reason given"


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise CommandError(f"{command[0]} {command[1]} gave no answer for {_TIMEOUT_S} s") from None
    except OSError as exc:
        raise CommandError(f"{command[0]} cannot be run: {exc.strerror}") from exc


def _revision(entry: dict[str, Any]) -> Revision:
    return Revision(
        number=int(entry["revision"]),
        updated=datetime.fromisoformat(_with_microseconds(entry["updated"])),
        status=entry["status"],
        chart=entry["chart"],
        app_version=entry.get("app_version", ""),
        # Of several lines where it quotes a hook's failure.
        description=" ".join(entry.get("description", "").split()),
    )


def _with_microseconds(time: str) -> str:
    # Go writes up to nine digits of a second; Python reads six.
    return re.sub(r"(\.\d{6})\d+", r"\1", time)
