"""`flotilla rollback`: goes back to an earlier revision by helm, and waits until that serves."""

from typing import Annotated

import typer

from flotilla_cli.failure import CommandError
from flotilla_cli.release.choice import choose_target, find_revision
from flotilla_cli.release.model import Revision
from flotilla_cli.release.target import (
    DEFAULT_NAME,
    ContextOption,
    NamespaceOption,
    ReleaseOption,
    Target,
    TimeoutOption,
)


def rollback(
    revision: Annotated[
        int | None, typer.Argument(min=1, help="From `flotilla history`; the last that ran, unless told otherwise.")
    ] = None,
    release: ReleaseOption = DEFAULT_NAME,
    namespace: NamespaceOption = DEFAULT_NAME,
    timeout: TimeoutOption = "15m",
    context: ContextOption = None,
) -> None:
    """Go back to a revision that ran; also clears a release that a killed helm left pending."""
    from flotilla_cli.release.change import Change
    from flotilla_cli.release.cluster import open_cluster
    from flotilla_cli.release.helm import find_helm

    target = Target(release, namespace, context)
    helm = find_helm()
    with open_cluster(target) as cluster:
        cluster.require_namespace()
        chosen = _choose(helm.read_history(target), revision, target)
        Change(helm, cluster, target, timeout).roll_back(chosen.number)


def _choose(history: list[Revision], revision: int | None, target: Target) -> Revision:
    if not history:
        raise CommandError(f"there is no release {target}", hint="install it with: flotilla deploy")
    chosen = find_revision(history, revision) if revision else choose_target(history)
    if chosen is None:
        raise CommandError(
            f"no other revision of {target} ever ran", hint=f"see them with: {target.command('history')}"
        )
    return chosen
