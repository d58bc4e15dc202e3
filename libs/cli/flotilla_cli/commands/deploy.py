"""`flotilla deploy`: installs or upgrades a release by helm, and waits until it serves."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flotilla_cli.console import err
from flotilla_cli.failure import CommandError
from flotilla_cli.release.dry_run import hide_secrets
from flotilla_cli.release.target import (
    DEFAULT_NAME,
    ContextOption,
    NamespaceOption,
    ReleaseOption,
    Target,
    TimeoutOption,
)

_CHART = "charts/flotilla"


def deploy(
    release: ReleaseOption = DEFAULT_NAME,
    namespace: NamespaceOption = DEFAULT_NAME,
    chart: Annotated[
        str, typer.Option(help="A folder, a package, or oci://… with its version after a colon.")
    ] = _CHART,
    image_tag: Annotated[str | None, typer.Option(help="Tag of all images; short for --set image.tag=….")] = None,
    values: Annotated[
        list[Path] | None, typer.Option("--values", "-f", exists=True, dir_okay=False, help="May be repeated.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One value; may be repeated.")
    ] = None,
    reset_values: Annotated[bool, typer.Option("--reset-values", help="Forget the values of earlier deploys.")] = False,
    timeout: TimeoutOption = "15m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be applied; change nothing.")] = False,
    context: ContextOption = None,
) -> None:
    """Install or upgrade on a cluster. What earlier deploys set stays set; a failed one is undone."""
    # Loaded here: the client library takes a second, which the other subcommands do without.
    from flotilla_cli.release.change import Change
    from flotilla_cli.release.choice import refuse_pending
    from flotilla_cli.release.cluster import open_cluster
    from flotilla_cli.release.helm import find_helm

    target = Target(release, namespace, context)
    helm = find_helm()
    command = [
        *helm.at(target, "upgrade", "--install", release, _find(chart)),
        "--reset-values" if reset_values else "--reset-then-reuse-values",
        *[f"--values={file}" for file in values or []],
        *[word for setting in settings or [] for word in ("--set", setting)],
        *(["--set-string", f"image.tag={image_tag}"] if image_tag else []),
    ]
    with open_cluster(target) as cluster:
        cluster.require_namespace()
        if dry_run:
            _rehearse([*command, "--dry-run=server", "--hide-secret"])
            return
        refuse_pending(helm.read_history(target), target)
        Change(helm, cluster, target, timeout).upgrade(command)
        if image_tag:
            _require_tag(image_tag, [workload.image for workload in cluster.read().workloads])


def _find(chart: str) -> str:
    if "://" in chart or Path(chart).exists():
        return chart
    raise CommandError(f"there is no chart at {chart}", hint="name it by --chart: a folder, a package or oci://…")


def _rehearse(command: list[str]) -> None:
    from flotilla_cli.release.change import show_command

    show_command(command)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(hide_secrets(done.stdout), end="")
    if done.returncode:
        raise CommandError(f"helm refuses it (exit code {done.returncode}); nothing was changed")


def _require_tag(tag: str, images: list[str]) -> None:
    others = sorted({image for image in images if not image.endswith(f":{tag}")})
    if others:
        err.print(
            f"[yellow]{len(others)} images have another tag than {escape(tag)}[/], such as {escape(others[0])}: "
            "a colour's own tag or a digest in the release's values comes first."
        )
