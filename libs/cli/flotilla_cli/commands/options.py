"""Options that several subcommands share."""

from pathlib import Path
from typing import Annotated

import typer

from flotilla_cli.home import Home

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="FLOTILLA_HOME", help="Where data, secrets and logs are kept.", show_default=True),
]


def open_home(path: Path) -> Home:
    """Returns the installation at the path; symbolic links are followed, so that one folder has one name."""
    return Home(path.expanduser().resolve())
