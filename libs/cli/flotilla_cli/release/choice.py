"""Decides where a rollback goes, and what a release in a bad state needs."""

import re
from collections.abc import Sequence

from flotilla_cli.failure import CommandError
from flotilla_cli.release.model import Revision
from flotilla_cli.release.target import Target

_COPY = re.compile(r"^Rollback to (\d+)")


def choose_target(history: Sequence[Revision]) -> Revision | None:
    """Returns the newest revision that once ran and is not what runs now.

    helm's own choice is the number before the current one, even if that never came up.
    """
    current = history[-1]
    running = _origin(current, history) if current.is_deployed else None
    refused = {revision.number for revision in history if not revision.ever_ran}
    for revision in reversed(history[:-1]):
        if revision.ever_ran and _origin(revision, history) not in {running, *refused}:
            return revision
    return None


def find_revision(history: Sequence[Revision], number: int) -> Revision:
    """Returns a revision by its number. Raises CommandError if the history does not have it."""
    for revision in history:
        if revision.number == number:
            return revision
    kept = ", ".join(str(revision.number) for revision in history)
    raise CommandError(f"there is no revision {number}", hint=f"the history has {kept}")


def repair(history: Sequence[Revision], target: Target) -> str:
    """Returns the command that gets a release out of a state in which helm left it; none if it needs no repair."""
    if not history or history[-1].is_deployed:
        return ""
    chosen = choose_target(history)
    if chosen is not None:
        return target.command("rollback", str(chosen.number))
    context = f" --kube-context {target.context}" if target.context else ""
    return f"helm uninstall {target.release} --namespace {target.namespace}{context}"


def refuse_pending(history: Sequence[Revision], target: Target) -> None:
    """Raises CommandError when somebody changes the release already, or was killed while doing so."""
    if history and history[-1].is_pending:
        raise pending_error(history, target)


def pending_error(history: Sequence[Revision], target: Target) -> CommandError:
    """Returns the error that names a pending release and its repair."""
    current = history[-1]
    return CommandError(
        f"{target}: revision {current.number} is {current.status} since {current.updated:%Y-%m-%d %H:%M:%S %Z}",
        hint=f"either helm is still at work, or it was killed; if it was: {repair(history, target)}",
    )


def _origin(revision: Revision, history: Sequence[Revision]) -> int:
    numbers = {known.number: known for known in history}
    while (copied := _COPY.match(revision.description)) and int(copied[1]) in numbers:
        revision = numbers[int(copied[1])]
    return int(copied[1]) if copied else revision.number
