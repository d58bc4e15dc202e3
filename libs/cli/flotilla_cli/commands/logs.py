"""`flotilla logs`: what the processes write."""

import time
from pathlib import Path
from typing import Annotated

import typer

from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.failure import CommandError
from flotilla_cli.home import DEFAULT_HOME, Home
from flotilla_cli.supervisor.log_files import tail

_POLL_S = 0.2


def logs(
    service: Annotated[str | None, typer.Argument(help="A service, or one replica of it: memory, gateway-2.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of each file's last lines.")] = 50,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Show the logs of all processes or of one."""
    files = _files(open_home(home), service)
    width = max(len(file.stem) for file in files)
    for file in files:
        for line in tail(file, lines):
            _show(file, line, width)
    if follow:
        _follow(files, width)


def _files(home: Home, service: str | None) -> list[Path]:
    everything = sorted(home.logs.glob("*.log"))
    files = [file for file in everything if service in (None, file.stem, file.stem.rpartition("-")[0])]
    if files:
        return files
    known = ", ".join(file.stem for file in everything)
    raise CommandError(
        f"there are no logs of {service or 'anything'} in {home.logs}", hint=known and f"there are: {known}"
    )


def _follow(files: list[Path], width: int) -> None:
    positions = {file: file.stat().st_size for file in files}
    try:
        while True:
            for file in files:
                positions[file] = _show_new(file, positions[file], width)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        return


def _show_new(file: Path, position: int, width: int) -> int:
    size = file.stat().st_size
    if size <= position:
        # Smaller means that the file was cut: go on from its new start.
        return size
    with file.open("rb") as stream:
        stream.seek(position)
        new = stream.read(size - position)
    complete = new[: new.rfind(b"\n") + 1]
    for line in complete.decode(errors="replace").splitlines():
        _show(file, line, width)
    return position + len(complete)


def _show(file: Path, line: str, width: int) -> None:
    print(f"{file.stem:<{width}} | {line}", flush=True)
