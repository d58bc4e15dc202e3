"""Postgres on this machine: its own cluster, 127.0.0.1 only, passwords by scram."""

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from flotilla_cli.embedded.binaries import postgres_tree
from flotilla_cli.embedded.ports import LOOPBACK
from flotilla_cli.embedded.postgres_place import PostgresPlace, place_for
from flotilla_cli.embedded.tether import tether
from flotilla_cli.failure import CommandError

SUPERUSER = "postgres"
STOP_SIGNAL = signal.SIGINT  # Postgres calls it a fast shutdown: sessions are ended, data is flushed.

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}
# For data that nobody will miss: tests only.
_THROWAWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """One Postgres cluster in a folder of ours; says how to run it and leaves running it to the caller."""

    folder: Path
    port: int
    superuser_password: str
    durable: bool = True

    def initialise(self) -> None:
        """Creates the cluster unless it exists."""
        place = self._place()
        place.prepare()
        if not place.data.exists():
            self._create(place)

    def command(self) -> list[str]:
        """Returns the command that runs the server in the foreground."""
        place = self._place()
        settings = {**_SETTINGS, "port": str(self.port), **({} if self.durable else _THROWAWAY_SETTINGS)}
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        # The tether comes after the change of account, which would undo it.
        return [
            *place.account.prefix,
            *tether(STOP_SIGNAL),
            self._program("postgres"),
            "-D",
            str(place.data),
            *arguments,
        ]

    def uid(self) -> int | None:
        """Returns the account the command must be started under, or None for our own."""
        return self._place().account.uid

    def gid(self) -> int | None:
        """Returns the group the command must be started under, or None for our own."""
        return self._place().account.gid

    def url(self, user: str = SUPERUSER, password: str | None = None, database: str = "postgres") -> str:
        """Returns a connection URL; the superuser's unless told otherwise."""
        secret = quote(self.superuser_password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@{LOOPBACK}:{self.port}/{database}"

    def is_ready(self) -> bool:
        """Says whether the server answers a query."""
        try:
            with psycopg.connect(self.url(), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop_leftover(self, timeout_s: float = 20.0) -> bool:
        """Stops a server that a killed predecessor left on this cluster; says whether there was one."""
        process = self._leftover()
        if process is None:
            self._place().pid_file.unlink(missing_ok=True)
            return False
        for stop in (STOP_SIGNAL, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(stop)
            if _is_gone(process, timeout_s):
                return True
        raise CommandError(f"the Postgres with pid {process.pid} does not stop")

    def discard(self) -> None:
        """Deletes the cluster and whatever was copied for it."""
        self._place().discard()

    def _place(self) -> PostgresPlace:
        return place_for(self.folder)

    def _program(self, name: str) -> str:
        return str(self._place().binaries(postgres_tree()) / "bin" / name)

    def _create(self, place: PostgresPlace) -> None:
        # Beside its place and then moved: a cluster that is there is whole, even if this is killed half-way.
        unfinished = place.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = place.folder / "initdb-password"
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self.superuser_password)
        place.hand_over(password_file)
        try:
            self._run_initdb(place, unfinished, password_file)
        finally:
            password_file.unlink()
        unfinished.rename(place.data)

    def _run_initdb(self, place: PostgresPlace, data: Path, password_file: Path) -> None:
        command = [*place.account.prefix, self._program("initdb"), "-D", str(data), "-U", SUPERUSER]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--no-instructions"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command += [] if self.durable else ["--no-sync"]
        account = place.account
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/",
            user=account.uid, group=account.gid, extra_groups=None if account.uid is None else [],
        )  # fmt: skip
        if done.returncode != 0:
            raise CommandError(f"initdb failed: {(done.stderr or done.stdout).strip()}")

    def _leftover(self) -> psutil.Process | None:
        place = self._place()
        try:
            process = psutil.Process(int(place.pid_file.read_text().splitlines()[0]))
            command = process.cmdline()
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        # The number may belong to another program by now: only one that serves this very folder is ours.
        is_ours = bool(command) and os.path.basename(command[0]) == "postgres" and str(place.data) in command
        return process if is_ours else None


def _is_gone(process: psutil.Process, timeout_s: float) -> bool:
    try:
        process.wait(timeout_s)
    except psutil.TimeoutExpired:
        return False
    return True
