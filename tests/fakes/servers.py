"""Embedded Postgres and Valkey for one test run; gone when it ends, also when it is killed."""

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals

from flotilla_cli.embedded.ports import free_port
from flotilla_cli.embedded.postgres import STOP_SIGNAL, EmbeddedPostgres
from flotilla_cli.embedded.provision import (
    OWNER,
    SERVICES,
    drop_database,
    provision_database,
    provision_roles,
    role_of,
)
from flotilla_cli.embedded.tether import tether
from flotilla_cli.embedded.valkey import EmbeddedValkey
from flotilla_common.migrations import migrate


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """A fresh database with the migrated schema of one service."""

    name: str
    url: str
    """As the service's own role, which has no DDL; the tenant must be set per transaction."""

    owner_url: str
    """As the owner of the tables."""

    system_url: str
    """As the service's own role, allowed to see every tenant."""

    superuser_url: str
    """As the database's administrator."""


@dataclass
class PostgresServer:
    """A running Postgres with all roles, and a migrated template for each service asked for."""

    server: EmbeddedPostgres
    passwords: dict[str, str]
    _templates: dict[str, str] = field(default_factory=dict)

    @property
    def superuser_url(self) -> str:
        return self.server.url()

    def url(self, role: str, database: str, *, options: str = "") -> str:
        suffix = f"?options={options}" if options else ""
        return self.server.url(role, self.passwords[role], database) + suffix

    def create_database(self, service: str) -> ServiceDatabase:
        """Copies the service's template, which takes some 30 ms."""
        name = f"test_{service}_{secrets.token_hex(4)}"
        provision_database(self.superuser_url, name, template=self._template(service))
        role = role_of(service)
        return ServiceDatabase(
            name=name,
            url=self.url(role, name),
            owner_url=self.url(OWNER, name, options=f"-c%20search_path%3D{service},public"),
            system_url=self.url(role, name, options="-c%20flotilla.tenant_id%3D*"),
            superuser_url=self.server.url(database=name),
        )

    def drop_database(self, database: ServiceDatabase) -> None:
        """Drops the database and ends the sessions in it."""
        drop_database(self.superuser_url, database.name)

    def _template(self, service: str) -> str:
        if service not in self._templates:
            name = f"template_{service}"
            provision_database(self.superuser_url, name)
            migrate(f"flotilla_{service}", service, url=self.url(OWNER, name), role=role_of(service))
            self._templates[service] = name
        return self._templates[service]


def free_ports(count: int) -> list[int]:
    """Returns different ports that are free at this moment."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port(ports))
    return list(ports)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Runs a throw-away Postgres."""
    with _temporary_folder() as folder:
        server = EmbeddedPostgres(folder, free_port(), secrets.token_hex(16), durable=False)
        try:
            server.initialise()
            with _running(server.command(), STOP_SIGNAL, uid=server.uid(), gid=server.gid()) as process:
                _wait_until_ready(server, process)
                passwords = {role: secrets.token_hex(16) for role in (OWNER, *map(role_of, SERVICES))}
                provision_roles(server.url(), passwords)
                yield PostgresServer(server, passwords)
        finally:
            server.discard()


@contextmanager
def running_valkey() -> Iterator[str]:
    """Runs a throw-away Valkey and yields its URL."""
    with _temporary_folder() as folder:
        server = EmbeddedValkey(folder, free_port(), secrets.token_hex(16))
        server.configure()
        with _running([*tether(SIGTERM), *server.command()], SIGTERM) as process:
            _wait_until_ready(server, process)
            yield server.url()


@contextmanager
def _running(
    command: list[str], stop: Signals, *, uid: int | None = None, gid: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    # A session of its own: Ctrl-C goes to pytest alone, whose teardown then stops the servers in order.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, cwd="/", user=uid, group=gid, extra_groups=None if uid is None else [],
    )  # fmt: skip
    try:
        yield process
    finally:
        _stop(process, stop)


def _wait_until_ready(server: EmbeddedPostgres | EmbeddedValkey, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while not server.is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{type(server).__name__} did not become ready (exit code {process.poll()})")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes], stop: Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(stop)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="flotilla-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
