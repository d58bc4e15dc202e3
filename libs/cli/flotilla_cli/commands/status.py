"""`flotilla status`: every process."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.console import out, show_table
from flotilla_cli.gateway import running
from flotilla_cli.home import DEFAULT_HOME
from flotilla_cli.platform.progress import NO_QUALITY_SIGNAL
from flotilla_cli.release.target import DEFAULT_NAME, ContextOption, Target
from flotilla_cli.supervisor.state import PlatformStatus, ProcessState, ProcessStatus

_COLOURS = {ProcessState.READY: "green", ProcessState.FAILED: "red"}


def status(
    home: HomeOption = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    release: Annotated[str | None, typer.Option("--release", "-r", help="A release on a cluster instead.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Its namespace.")] = None,
    context: ContextOption = None,
) -> None:
    """Show every process of this machine's platform or, with --release or --namespace, a release on a cluster."""
    if release or namespace or context:
        # Loaded here: the client library takes a second.
        from flotilla_cli.release.report import report_status

        report_status(Target(release or DEFAULT_NAME, namespace or DEFAULT_NAME, context), as_json=as_json)
        return
    platform = running(open_home(home))
    if as_json:
        print(json.dumps(_plain(platform), indent=2))
    else:
        _show(platform)


def _plain(platform: PlatformStatus) -> dict[str, object]:
    note = NO_QUALITY_SIGNAL if platform.development_model else None
    return {**asdict(platform), "model_note": note}


def _show(platform: PlatformStatus) -> None:
    out.print(f"{platform.url}  {'ready' if platform.is_ready else 'starting'}\n")
    show_table(("process", "replica", "pid", "ports", "state", "restarts"), map(_row, platform.processes))
    if platform.development_model:
        out.print(f"\n[yellow]{NO_QUALITY_SIGNAL}[/]")


def _row(process: ProcessStatus) -> tuple[str, ...]:
    colour = _COLOURS.get(process.state, "yellow")
    ports = "  ".join(f"{purpose} {port}" for purpose, port in process.ports.items())
    state = f"[{colour}]{process.state}[/]"
    return process.name, str(process.replica), str(process.pid or "-"), ports, state, str(process.restarts)
