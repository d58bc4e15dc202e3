"""Which release is meant, and the options that name it."""

import shlex
from dataclasses import dataclass
from typing import Annotated

import typer

DEFAULT_NAME = "flotilla"

NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="The namespace; it must exist.")]
ReleaseOption = Annotated[str, typer.Option("--release", "-r", help="The release's name.")]
ContextOption = Annotated[str | None, typer.Option("--context", help="Another context of the kubeconfig.")]
TimeoutOption = Annotated[str, typer.Option(help="How long each step may take, such as 90s or 15m.")]


@dataclass(frozen=True, slots=True)
class Target:
    """A release in a namespace of a cluster."""

    release: str
    namespace: str
    context: str | None = None

    def __str__(self) -> str:
        return f"{self.release} in namespace {self.namespace}"

    def command(self, *words: str) -> str:
        """Returns a `flotilla` command about this release, to be copied."""
        return shlex.join(["flotilla", *words, *self._options()])

    def _options(self) -> list[str]:
        options: list[str] = []
        if self.release != DEFAULT_NAME:
            options += ["--release", self.release]
        if self.namespace != DEFAULT_NAME:
            options += ["--namespace", self.namespace]
        return [*options, "--context", self.context] if self.context else options
