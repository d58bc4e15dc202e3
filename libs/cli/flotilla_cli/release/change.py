"""Changes a release by helm, and says in words how it went."""

import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape

from flotilla_cli.console import err, out
from flotilla_cli.failure import CommandError
from flotilla_cli.release.choice import choose_target, repair
from flotilla_cli.release.cluster import Cluster
from flotilla_cli.release.helm import Helm, first_error
from flotilla_cli.release.helm_process import Outcome, run_helm
from flotilla_cli.release.model import Revision
from flotilla_cli.release.target import Target
from flotilla_cli.release.watch import Failure, RolloutWatch

_MOST_FAILURES = 5
_UNDO_FAILED = re.compile(r'^Rollback "[^"]*" failed: (no \S+ with the name|cannot patch) ')
_WHY_UNDONE = re.compile(r"original upgrade error: (.*?):\s+(?:no \S+ with the name|cannot patch) ", re.S)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a release: the command is shown, followed, and explained if it fails."""

    helm: Helm
    cluster: Cluster
    target: Target
    timeout: str

    def upgrade(self, command: Sequence[str]) -> Revision:
        """Installs or upgrades; what fails is undone. Raises CommandError, with the failing pods shown, if it does."""
        return self._run([*command, *self.helm.upgrade_flags(self.timeout)], undoes=True)

    def roll_back(self, number: int) -> Revision:
        """Goes back to a revision. Raises CommandError, with the failing pods shown, if that failed."""
        return self._run(self._rollback(number), undoes=False)

    def _run(self, command: Sequence[str], *, undoes: bool) -> Revision:
        show_command(command)
        began = time.monotonic()
        watch = self._watch(began)
        outcome = run_helm(command, watch, undoes=undoes)
        if outcome.exit_code != 0:
            _show_failures(watch)
            raise self._failure(outcome)
        watch.settle()
        revision = self.helm.read_history(self.target, limit=1)[-1]
        if revision.number == 1:
            err.print(escape(outcome.stdout.strip()), style="dim")
        out.print(
            f"[bold green]{escape(str(self.target))}: revision {revision.number} is deployed[/] "
            f"after {time.monotonic() - began:.0f} s{_leaving(watch)}."
        )
        return revision

    def _watch(self, began: float) -> RolloutWatch:
        return RolloutWatch(self.cluster, lambda service, news: _tell(service, news, time.monotonic() - began))

    def _rollback(self, number: int) -> list[str]:
        words = ("rollback", self.target.release, str(number))
        return [*self.helm.at(self.target, *words), *self.helm.rollback_flags(self.timeout)]

    def _failure(self, outcome: Outcome) -> CommandError:
        said = _cause(outcome)
        try:
            history = self._undone(self.helm.read_history(self.target))
        except CommandError as failure:
            return CommandError(said, hint=f"what became of the release cannot be said: {failure}")
        if not history:
            return CommandError(said, hint="it was the first install, and nothing of it is left")
        if command := repair(history, self.target):
            current = history[-1]
            return CommandError(said, hint=f"revision {current.number} is {current.status}; to repair it: {command}")
        # helm counts its way back as a revision of its own, unless nothing had been changed yet.
        return CommandError(said, hint=f"revision {history[-1].number} runs: {history[-1].description}")

    def _undone(self, history: list[Revision]) -> list[Revision]:
        """Finishes an undoing that helm gave up.

        It cannot go back from a revision that was refused before it was applied if an object is only in the one before,
        and leaves the refused one as the next undoing's goal. But its failed try is a revision that has all objects.
        """
        if not history or not _UNDO_FAILED.match(history[-1].description):
            return history
        target = choose_target(history)
        if target is None:
            return history
        command = self._rollback(target.number)
        show_command(command)
        run_helm(command, self._watch(time.monotonic()), undoes=False)
        return self.helm.read_history(self.target)


def show_command(command: Sequence[str]) -> None:
    """Prints a command as it could be typed."""
    err.print(f"[bold]$ {escape(shlex.join(command))}[/]")


def _cause(outcome: Outcome) -> str:
    if outcome.missing_image:
        return (
            f"the image {outcome.missing_image} cannot be pulled: is it pushed, is its tag right "
            "(--image-tag, image.tag), and may the node read it (image.pullSecrets)?"
        )
    if outcome.exit_code < 0:
        return f"helm was killed by signal {-outcome.exit_code}"
    if outcome.is_interrupted:
        return "stopped by Ctrl-C"
    said = first_error(outcome.stderr or outcome.stdout)
    # Why it was undone, rather than why helm could not do that.
    undo_failed = _WHY_UNDONE.search(said)
    return f"helm failed: {undo_failed[1] if undo_failed else said}"


def _leaving(watch: RolloutWatch) -> str:
    count = watch.last.leaving if watch.last else 0
    return f"; earlier pods that finish what they have: {count}" if count else ""


def _tell(service: str, news: str, elapsed_s: float) -> None:
    err.print(f"  {escape(service):<20} {escape(news)}  [dim]{elapsed_s:.0f} s[/]")


def _show_failures(watch: RolloutWatch) -> None:
    for service, refusal in watch.refusals.items():
        err.print(f"\n[red]{escape(service)}[/]: no pod can be made: {escape(refusal)}")
    # What is left of an earlier change's Job is no reason of this one's.
    failures = [one for one in watch.newest_failures() if watch.is_new(one.pod) or not one.pod.job]
    for failure in failures[:_MOST_FAILURES]:
        show_failure(failure)
    err.print()


def show_failure(failure: Failure) -> None:
    """Prints why a pod does not come up, and the end of its log."""
    pod = failure.pod
    where = f" (container {pod.trouble.container})" if pod.trouble and pod.trouble.container else ""
    err.print(f"\n[red]{escape(pod.service)}[/]: pod {escape(pod.name)}{escape(where)}: {escape(failure.reason)}")
    for line in failure.log:
        err.print(f"  [dim]|[/] {escape(line)}")
