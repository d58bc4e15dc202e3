"""Runs the programs that the tests act through."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it said."""

    command: str
    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """All that it printed."""
        return f"{self.stdout}\n{self.stderr}".strip()


class CommandFailed(AssertionError):
    """A command that had to work did not."""


def run(
    *command: str, env: Mapping[str, str] | None = None, stdin: str | None = None, timeout_s: float = 600
) -> Outcome:
    """Runs a command to its end, whatever that is."""
    done = subprocess.run(
        command,
        input=stdin,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Outcome(" ".join(command), done.returncode, done.stdout, done.stderr)


def must(outcome: Outcome) -> Outcome:
    """Returns the outcome. Raises CommandFailed with all that the command said when it failed."""
    if outcome.status:
        raise CommandFailed(f"{outcome.command[:400]} failed with {outcome.status}:\n{outcome.said[-6000:]}")
    return outcome
