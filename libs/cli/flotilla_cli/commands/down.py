"""`flotilla down`: stops what `up` started."""

import signal

import psutil

from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.console import out
from flotilla_cli.embedded.postgres import EmbeddedPostgres
from flotilla_cli.failure import CommandError
from flotilla_cli.home import DEFAULT_HOME, Home
from flotilla_cli.supervisor.leftovers import stop_marked
from flotilla_cli.supervisor.state import read_status, supervisor_process

_TIMEOUT_S = 60.0


def down(home: HomeOption = DEFAULT_HOME) -> None:
    """Stop the platform, and whatever a killed one left."""
    installation = open_home(home)
    was_running = _stop_supervisor(installation)
    left = _stop_leftovers(installation)
    installation.state_file.unlink(missing_ok=True)
    if was_running or left:
        out.print("Flotilla has stopped; its data stays.")
    else:
        out.print(f"Nothing runs on {installation.path}.")


def _stop_supervisor(home: Home) -> bool:
    status = read_status(home.state_file)
    process = supervisor_process(status) if status else None
    if process is None:
        return False
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_TIMEOUT_S)
    except psutil.TimeoutExpired:
        raise CommandError(f"pid {process.pid} does not stop", hint=f"kill -9 {process.pid}; flotilla down") from None
    return True


def _stop_leftovers(home: Home) -> bool:
    # Postgres first and by its own file: a plain SIGTERM would have it wait for its clients.
    postgres = EmbeddedPostgres(home.postgres, port=0, superuser_password="")
    had_postgres = home.postgres.exists() and postgres.stop_leftover()
    return bool(stop_marked(str(home.path))) or had_postgres
