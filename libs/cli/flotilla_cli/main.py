"""The command line: which subcommands there are."""

import sys

import typer

from flotilla_cli.commands.agents import agents
from flotilla_cli.commands.chat import chat
from flotilla_cli.commands.deploy import deploy
from flotilla_cli.commands.doctor import doctor
from flotilla_cli.commands.down import down
from flotilla_cli.commands.env import env
from flotilla_cli.commands.history import history
from flotilla_cli.commands.keys import keys
from flotilla_cli.commands.logs import logs
from flotilla_cli.commands.rollback import rollback
from flotilla_cli.commands.status import status
from flotilla_cli.commands.up import up
from flotilla_cli.console import discard, err
from flotilla_cli.failure import CommandError

app = typer.Typer(
    help="LLM agents as ordinary, durable, revertible services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (up, down, status, logs, env, chat, doctor, deploy, rollback, history):
    app.command()(command)
app.add_typer(keys, name="keys")
app.add_typer(agents, name="agents")


def main() -> None:
    """Runs the command; a failure that has a name is shown without a traceback."""
    try:
        app()
    except CommandError as failure:
        err.print(f"[bold red]error:[/] {_plain(failure)}")
        if failure.hint:
            err.print(f"[dim]{_plain(failure.hint)}[/]")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of a pipe, `head` say, has seen enough.
        discard(sys.stdout)


def _plain(text: object) -> str:
    return str(text).replace("[", r"\[")
