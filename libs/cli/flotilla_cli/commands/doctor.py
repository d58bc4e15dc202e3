"""`flotilla doctor`: what this machine lacks, and what does not work."""

from rich.markup import escape

from flotilla_cli.checks import Verdict, check_machine, check_running
from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.console import out
from flotilla_cli.failure import CommandError
from flotilla_cli.home import DEFAULT_HOME

_MARKS = {True: "[green]ok[/]     ", False: "[red]wrong[/]  "}


def doctor(home: HomeOption = DEFAULT_HOME) -> None:
    """Check this machine, the installation, and the platform if it runs."""
    installation = open_home(home)
    verdicts = [*check_machine(installation), *check_running(installation)]
    for verdict in verdicts:
        _show(verdict)
    wrong = sum(not verdict.is_well for verdict in verdicts)
    if wrong:
        raise CommandError(f"{wrong} of {len(verdicts)} checks found something wrong")


def _show(verdict: Verdict) -> None:
    out.print(f"{_MARKS[verdict.is_well]} {escape(verdict.subject):<22} [dim]{escape(verdict.detail)}[/]")
