"""Runs a helm command that changes a release, and says in words how it went."""

import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape

from flotilla_cli.console import err, out
from flotilla_cli.failure import CommandError
from flotilla_cli.release.choice import repair
from flotilla_cli.release.cluster import Cluster
from flotilla_cli.release.helm import Helm, first_error
from flotilla_cli.release.model import Revision
from flotilla_cli.release.target import Target
from flotilla_cli.release.watch import Failure, RolloutWatch

_MOST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a helm command left behind."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a release: the command is shown, followed, and explained if it fails."""

    helm: Helm
    cluster: Cluster
    target: Target

    def run(self, command: Sequence[str]) -> Revision:
        """Returns the revision that came of it. Raises CommandError, with the failing pods shown, if it failed."""
        show_command(command)
        began = time.monotonic()
        watch = RolloutWatch(self.cluster, lambda service, news: _tell(service, news, time.monotonic() - began))
        outcome = _run(command, watch)
        if outcome.exit_code != 0:
            _show_failures(watch)
            raise self._failure(outcome)
        history = self.helm.read_history(self.target, limit=1)
        watch.look()
        err.print(escape(outcome.stdout.strip()), style="dim")
        out.print(
            f"[bold green]{escape(str(self.target))}: revision {history[-1].number} is deployed[/] "
            f"after {time.monotonic() - began:.0f} s."
        )
        return history[-1]

    def _failure(self, outcome: Outcome) -> CommandError:
        said = f"helm failed: {first_error(outcome.stderr or outcome.stdout)}"
        if outcome.exit_code < 0:
            said = f"helm was killed by signal {-outcome.exit_code}"
        try:
            history = self.helm.read_history(self.target)
        except CommandError as failure:
            return CommandError(said, hint=f"what became of the release cannot be said: {failure}")
        if not history:
            return CommandError(said, hint="it was the first install, and nothing of it is left")
        if command := repair(history, self.target):
            current = history[-1]
            return CommandError(said, hint=f"revision {current.number} is {current.status}; to repair it: {command}")
        # helm counts its way back as a revision of its own, unless nothing had been changed yet.
        return CommandError(said, hint=f"revision {history[-1].number} runs: {history[-1].description}")


def show_command(command: Sequence[str]) -> None:
    """Prints a command as it could be typed."""
    err.print(f"[bold]$ {escape(shlex.join(command))}[/]")


def _run(command: Sequence[str], watch: RolloutWatch) -> Outcome:
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        try:
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True)
        except OSError as exc:
            raise CommandError(f"helm cannot be run: {exc.strerror}") from exc
        _follow(process, watch)
        for stream in (stdout, stderr):
            stream.seek(0)
        return Outcome(process.returncode, stdout.read(), stderr.read())


def _follow(process: subprocess.Popen[str], watch: RolloutWatch) -> None:
    try:
        watch.follow(process)
    except KeyboardInterrupt:
        # The terminal has told helm too. Left alone it undoes its work; killed, it would leave the release pending.
        err.print("[yellow]stopping; helm undoes what it did. Ctrl-C again leaves the release as it is.[/]")
        try:
            watch.follow(process)
        except KeyboardInterrupt:
            process.kill()
            process.wait()


def _tell(service: str, news: str, elapsed_s: float) -> None:
    err.print(f"  {escape(service):<20} {escape(news)}  [dim]{elapsed_s:.0f} s[/]")


def _show_failures(watch: RolloutWatch) -> None:
    for service, refusal in watch.refusals.items():
        err.print(f"\n[red]{escape(service)}[/]: no pod can be made: {escape(refusal)}")
    for failure in watch.newest_failures()[:_MOST_FAILURES]:
        show_failure(failure)
    err.print()


def show_failure(failure: Failure) -> None:
    """Prints why a pod does not come up, and the end of its log."""
    pod = failure.pod
    where = f" (container {pod.trouble.container})" if pod.trouble and pod.trouble.container else ""
    err.print(f"\n[red]{escape(pod.service)}[/]: pod {escape(pod.name)}{escape(where)}: {escape(failure.reason)}")
    for line in failure.log:
        err.print(f"  [dim]|[/] {escape(line)}")
