"""`flotilla history`: a release's revisions on a cluster."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from flotilla_cli.console import show_table
from flotilla_cli.failure import CommandError
from flotilla_cli.release.helm import find_helm
from flotilla_cli.release.model import Revision
from flotilla_cli.release.target import DEFAULT_NAME, ContextOption, NamespaceOption, ReleaseOption, Target
from flotilla_cli.release.values import image_tag

_COLOURS = {"deployed": "green", "failed": "red", "superseded": "dim"}


def history(
    release: ReleaseOption = DEFAULT_NAME,
    namespace: NamespaceOption = DEFAULT_NAME,
    limit: Annotated[int, typer.Option("--max", min=1, help="How many, the newest.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    context: ContextOption = None,
) -> None:
    """Show what was deployed when; `flotilla rollback REVISION` goes back to it."""
    target = Target(release, namespace, context)
    helm = find_helm()
    revisions = helm.read_history(target, limit=limit)
    if not revisions:
        raise CommandError(f"there is no release {target}", hint="install it with: flotilla deploy")
    with ThreadPoolExecutor(max_workers=4) as pool:
        values = list(pool.map(lambda revision: helm.read_values(target, revision.number), revisions))
    if as_json:
        print(json.dumps([_plain(*pair) for pair in zip(revisions, values, strict=True)], indent=2))
    else:
        columns = ("revision", "updated", "status", "image tag", "chart", "description")
        show_table(columns, map(_row, revisions, values))


def _plain(revision: Revision, values: dict[str, Any]) -> dict[str, Any]:
    return {
        **asdict(revision),
        "updated": revision.updated.isoformat(),
        "image_tag": image_tag(values, revision.app_version),
    }


def _row(revision: Revision, values: dict[str, Any]) -> tuple[str, ...]:
    colour = _COLOURS.get(revision.status, "yellow")
    return (
        str(revision.number),
        f"{revision.updated:%Y-%m-%d %H:%M:%S}",
        f"[{colour}]{escape(revision.status)}[/]",
        escape(image_tag(values, revision.app_version)),
        escape(revision.chart),
        escape(revision.description),
    )
