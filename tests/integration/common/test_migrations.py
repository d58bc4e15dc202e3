"""Migrations on a real Postgres, as the owner's role, for a service's role."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from fakes.servers import PostgresServer
from flotilla_cli.embedded.provision import OWNER, drop_database, provision_database, role_of
from flotilla_common.errors import FailedPreconditionError
from flotilla_common.migrations import MigrationError, migrate, require_schema
from flotilla_common.postgres import open_pool

ROLE = role_of("memory")
FIRST = "CREATE TABLE things (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text); -- 100 % plain"
AUDIT = "CREATE TABLE audit (line text); COMMENT ON TABLE audit IS 'append-only: who did what';"


class Workshop:
    """A package of migrations and an empty database."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.package = f"package_{uuid4().hex[:8]}"
        self.root = folder
        self.files = folder / self.package / "migrations"
        self.files.mkdir(parents=True)
        (folder / self.package / "__init__.py").touch()
        self.database = f"test_migrations_{uuid4().hex[:8]}"
        provision_database(server.superuser_url, self.database)
        self.owner_url, self.url = server.url(OWNER, self.database), server.url(ROLE, self.database)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.files / f"{name.removeprefix('m')}.sql").write_text(text)

    def migrate(self) -> list[int]:
        applied = migrate(self.package, "memory", url=self.owner_url, role=ROLE)
        return [migration.version for migration in applied]

    def as_service(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def versions(self) -> list[int]:
        with psycopg.connect(self.owner_url) as connection:
            rows = connection.execute("SELECT version FROM memory.schema_migrations ORDER BY version").fetchall()
        return [version for (version,) in rows]


@pytest.fixture
def workshop(tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    made = Workshop(tmp_path, postgres_server)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield made
    drop_database(postgres_server.superuser_url, made.database)


def test_migrations_are_applied_once_in_order(workshop: Workshop) -> None:
    workshop.write(m0001_things=FIRST, m0002_more="ALTER TABLE things ADD COLUMN size int")

    assert workshop.migrate() == [1, 2]
    assert workshop.migrate() == []
    workshop.write(m0003_last="ALTER TABLE things ADD COLUMN color text")
    assert workshop.migrate() == [3]
    assert workshop.versions() == [1, 2, 3]


def test_service_may_use_rows_but_has_no_ddl(workshop: Workshop) -> None:
    workshop.write(m0001_things=FIRST)
    workshop.migrate()

    workshop.as_service("INSERT INTO memory.things (name) VALUES ('a')")
    for forbidden in (
        "CREATE TABLE memory.more (id int)",
        "DROP TABLE memory.things",
        "ALTER TABLE memory.things ADD COLUMN x int",
        "TRUNCATE memory.things",
        "ALTER TABLE memory.things DISABLE ROW LEVEL SECURITY",
        "INSERT INTO memory.schema_migrations VALUES (9, 'x', 'x')",
        "DELETE FROM memory.schema_migrations",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            workshop.as_service(forbidden)


def test_append_only_table_takes_no_change(workshop: Workshop) -> None:
    workshop.write(m0001_audit=AUDIT)
    workshop.migrate()

    workshop.as_service("INSERT INTO memory.audit VALUES ('anna signed in')")
    for forbidden in ("UPDATE memory.audit SET line = ''", "DELETE FROM memory.audit"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            workshop.as_service(forbidden)


def test_changed_file_is_refused_and_nothing_is_applied(workshop: Workshop) -> None:
    workshop.write(m0001_things=FIRST)
    workshop.migrate()
    workshop.write(m0001_things=FIRST + " ", m0002_more="CREATE TABLE more ()")

    with pytest.raises(MigrationError, match=r"0001_things\.sql was changed"):
        workshop.migrate()

    assert workshop.versions() == [1]


def test_failed_file_leaves_nothing_behind_and_the_ones_before_stay(workshop: Workshop) -> None:
    workshop.write(m0001_things=FIRST, m0002_bad="CREATE TABLE half (id int); SELECT nothing();")

    with pytest.raises(MigrationError, match=r"0002_bad\.sql failed"):
        workshop.migrate()

    assert workshop.versions() == [1]
    workshop.write(m0002_bad="CREATE TABLE half (id int)")
    assert workshop.migrate() == [2]


def test_older_files_on_a_newer_database_change_nothing(workshop: Workshop) -> None:
    workshop.write(m0001_things=FIRST, m0002_more="ALTER TABLE things ADD COLUMN size int")
    workshop.migrate()
    (workshop.files / "0002_more.sql").unlink()

    assert workshop.migrate() == []
    assert workshop.versions() == [1, 2]


async def test_concurrent_runs_apply_each_file_once(workshop: Workshop) -> None:
    workshop.write(m0001_things=FIRST + "; SELECT pg_sleep(0.3)", m0002_more="ALTER TABLE things ADD COLUMN size int")

    runs = await asyncio.gather(*(asyncio.to_thread(workshop.migrate) for _ in range(4)))

    assert sorted(runs) == [[], [], [], [1, 2]]


def test_locked_table_is_not_waited_for_long(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flotilla_common.migrations.LOCK_TIMEOUT", "200ms")
    workshop.write(m0001_things=FIRST)
    workshop.migrate()
    workshop.write(m0002_more="ALTER TABLE things ADD COLUMN size int")

    with psycopg.connect(workshop.owner_url) as holder:
        holder.execute("LOCK TABLE memory.things IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="lock timeout"):
            workshop.migrate()

    assert workshop.migrate() == [2]


def test_role_that_does_not_exist_is_named(workshop: Workshop) -> None:
    workshop.write(m0001_things=FIRST)

    with pytest.raises(MigrationError, match="role nobody does not exist; MEMORY_DATABASE_ROLE"):
        migrate(workshop.package, "memory", url=workshop.owner_url, role="nobody")


async def test_service_starts_only_on_a_schema_that_is_new_enough(workshop: Workshop) -> None:
    async with open_pool(workshop.url, min_size=1, max_size=1) as pool:
        with pytest.raises(FailedPreconditionError, match="at version 0 and 1 is needed"):
            await require_schema(pool, "memory", 1, wait_s=0)
        workshop.write(m0001_things=FIRST)
        waiting = asyncio.create_task(require_schema(pool, "memory", 1, wait_s=10))
        await asyncio.to_thread(workshop.migrate)

        await waiting


def run_command(workshop: Workshop, **variables: str) -> subprocess.CompletedProcess[str]:
    program = f"from flotilla_common.migrations import main; main(package={workshop.package!r}, schema='memory')"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(workshop.root), **variables}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_command_says_what_it_did(workshop: Workshop) -> None:
    workshop.write(m0001_things=FIRST)

    done = run_command(workshop, MEMORY_MIGRATION_DATABASE_URL=workshop.owner_url)

    assert (done.returncode, done.stdout) == (0, "memory: 1 applied, now at version 1\n")


def test_command_without_its_variable_names_it(workshop: Workshop) -> None:
    done = run_command(workshop)

    assert (done.returncode, done.stderr) == (2, "MEMORY_MIGRATION_DATABASE_URL: Field required\n")


def test_command_that_fails_shows_no_password(workshop: Workshop) -> None:
    done = run_command(workshop, MEMORY_MIGRATION_DATABASE_URL="postgresql://owner:hunter2@127.0.0.1:1/none")

    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
