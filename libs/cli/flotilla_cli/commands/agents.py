"""`flotilla agents`: which agents there are, and whether a file makes one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.console import out, show_table
from flotilla_cli.failure import CommandError
from flotilla_cli.gateway import Json, call, client
from flotilla_cli.home import DEFAULT_HOME

agents = typer.Typer(help="Agents: list, validate.", no_args_is_help=True)


@agents.command(name="list")
def list_agents(home: HomeOption = DEFAULT_HOME) -> None:
    """Show the agents that the running platform serves."""
    with client(open_home(home)) as gateway:
        found: list[Json] = call(gateway, "GET", "/v1/models")["data"]
    show_table(("agent", "owner", "since"), map(_row, found))


@agents.command()
def validate(
    files: Annotated[list[Path], typer.Argument(exists=True, help="Agent files, or folders of them.")],
) -> None:
    """Check agent files and their prompts; each fault is shown with its line."""
    # Loaded here: it brings LangGraph, which the other subcommands do without.
    from flotilla_orchestrator.graphs.loader import validate_file

    faults = 0
    for file in _yaml_files(files):
        problems = validate_file(file)
        faults += len(problems)
        for problem in problems:
            print(problem)
        if not problems:
            out.print(f"{escape(str(file))}: [green]valid[/]")
    if faults:
        raise CommandError(f"{faults} fault{'s' if faults > 1 else ''} found")


def _row(agent: Json) -> tuple[str, ...]:
    since = datetime.fromtimestamp(agent["created"], UTC).strftime("%Y-%m-%d %H:%M")
    return escape(agent["id"]), escape(agent["owned_by"]), since


def _yaml_files(paths: list[Path]) -> list[Path]:
    files = [file for path in paths for file in (sorted(path.glob("*.y*ml")) if path.is_dir() else [path])]
    if not files:
        raise CommandError("there is no agent file (*.yaml)")
    return files
