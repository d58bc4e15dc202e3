"""Runs a helm command that changes a release, and ends it early only in a way that leaves the release whole."""

import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from flotilla_cli.console import err
from flotilla_cli.failure import CommandError
from flotilla_cli.release.watch import RolloutWatch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a helm command left behind."""

    exit_code: int
    stdout: str
    stderr: str
    is_interrupted: bool
    missing_image: str
    """The image for whose sake it was stopped, if it was."""


def run_helm(command: Sequence[str], watch: RolloutWatch, *, undoes: bool) -> Outcome:
    """Runs a command to its end; one that `undoes` its work when interrupted is stopped once an image cannot come."""
    watch.look()
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        try:
            # In a group of its own Ctrl-C reaches us alone: a rollback that it ended would stay pending.
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True, process_group=0)
        except OSError as exc:
            raise CommandError(f"helm cannot be run: {exc.strerror}") from exc
        run = _Run(process, watch, undoes)
        run.follow()
        for stream in (stdout, stderr):
            stream.seek(0)
        return Outcome(process.returncode, stdout.read(), stderr.read(), run.is_interrupted, run.missing_image)


@dataclass(slots=True)
class _Run:
    process: subprocess.Popen[str]
    watch: RolloutWatch
    undoes: bool
    is_interrupted: bool = False
    missing_image: str = ""

    def follow(self) -> None:
        try:
            self.watch.follow(self.process, self._stop_without_image)
        except KeyboardInterrupt:
            self.is_interrupted = True
            self._interrupt()
            try:
                self.watch.follow(self.process)
            except KeyboardInterrupt:
                self.process.kill()
                self.process.wait()

    def _stop_without_image(self) -> None:
        if not self.undoes or self.missing_image:
            return
        self.missing_image = self.watch.missing_image()
        if self.missing_image:
            err.print(f"[yellow]{self.missing_image} does not come; helm is stopped and undoes what it did.[/]")
            self.process.send_signal(signal.SIGINT)

    def _interrupt(self) -> None:
        if self.undoes:
            err.print("[yellow]stopping; helm undoes what it did. Ctrl-C again leaves the release as it is.[/]")
            self.process.send_signal(signal.SIGINT)
        else:
            err.print(
                "[yellow]a rollback goes on to its end. Ctrl-C again kills helm, and the release stays pending.[/]"
            )
