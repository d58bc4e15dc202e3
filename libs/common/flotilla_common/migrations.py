"""Schema migrations: ordered SQL files, applied once, forward only, as the owner role.

A service's `migrate.py` calls `main(package="flotilla_memory", schema="memory")`; its files are
`migrations/NNNN_name.sql`. The service's own role is granted rows, never DDL; on a table whose comment begins with
"append-only" it may not UPDATE or DELETE.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg import sql
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from flotilla_common.errors import FailedPreconditionError
from flotilla_common.postgres import ROLE_PREFIX, Pool, map_database_errors
from flotilla_common.settings import ProcessSettings, load_settings

LOCK_TIMEOUT = "5s"
TURN_TIMEOUT = "10min"
"""How long one run waits while another migrates the same schema."""
_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS {}.schema_migrations (
  version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""
_APPEND_ONLY = """
SELECT relname FROM pg_class
WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p')
  AND obj_description(oid, 'pg_class') LIKE 'append-only%%'
"""
_GRANTS = (
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON {schema}.schema_migrations FROM {role}",
)
_log = logging.getLogger(__name__)


class MigrationError(Exception):
    """The files and the database do not fit together; nothing was changed by the file that is named."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    statements: bytes

    @property
    def checksum(self) -> str:
        """Returns what must never change once the file is merged."""
        return hashlib.sha256(self.statements).hexdigest()


def main(*, package: str, schema: str) -> None:
    """Migrates with the settings of the environment: `<SCHEMA>_MIGRATION_DATABASE_URL`, `<SCHEMA>_DATABASE_ROLE`."""
    settings = load_settings(_settings_class(schema))
    logging.basicConfig(level=settings.log_level, format="%(message)s", stream=sys.stderr)
    url, role = settings.migration_database_url.get_secret_value(), settings.database_role
    try:
        applied = migrate(package, schema, url=url, role=role)
    except (MigrationError, psycopg.Error) as exc:
        sys.exit(f"{schema}: {exc}")
    sys.stdout.write(f"{schema}: {len(applied)} applied, now at version {latest_version(package)}\n")


def migrate(package: str, schema: str, *, url: str, role: str | None = None) -> list[Migration]:
    """Applies what the database has not seen yet and returns it; safe to run from several places at once.

    Raises MigrationError if a merged file was changed or a file comes too late.
    """
    found = read_migrations(package)
    with psycopg.connect(url, autocommit=True, application_name=f"{schema} migrations") as connection:
        _wait_for_turn(connection, schema)
        _prepare_ledger(connection, schema)
        pending = _pending(connection, schema, found)
        for migration in pending:
            _apply(connection, schema, migration)
        _grant(connection, schema, role or f"{ROLE_PREFIX}{schema}")
    return pending


def read_migrations(package: str) -> list[Migration]:
    """Returns the package's migrations in order; raises MigrationError for a name or number that does not fit."""
    migrations = []
    for file in sorted(files(package).joinpath("migrations").iterdir(), key=lambda file: file.name):
        if file.name.startswith("__"):
            continue
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"{file.name} is not named NNNN_name.sql")
        migrations.append(Migration(int(match[1]), file.name, file.read_bytes()))
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError(f"the migrations of {package} are not numbered 0001, 0002, … without a gap")
    return migrations


def latest_version(package: str) -> int:
    """Returns the version that the package's files lead to."""
    return len(read_migrations(package))


async def require_schema(pool: Pool, schema: str, minimum: int, *, wait_s: float = 60.0) -> None:
    """Waits until the schema is as new as the code needs; raises FailedPreconditionError if it does not get there."""
    deadline = time.monotonic() + wait_s
    while (version := await _version(pool, schema)) < minimum:
        if time.monotonic() >= deadline:
            raise FailedPreconditionError(
                f"schema {schema} is at version {version} and {minimum} is needed; run its migrations",
                reason="schema_too_old",
            )
        await asyncio.sleep(0.5)


async def _version(pool: Pool, schema: str) -> int:
    query = sql.SQL("SELECT coalesce(max(version), 0) FROM {}.schema_migrations").format(sql.Identifier(schema))
    with map_database_errors():
        async with pool.connection() as connection:
            try:
                row = await (await connection.execute(query)).fetchone()
            except (
                psycopg.errors.UndefinedTable,
                psycopg.errors.InvalidSchemaName,
                psycopg.errors.InsufficientPrivilege,
            ):
                return 0
    return int(row[0]) if row is not None else 0


def _wait_for_turn(connection: psycopg.Connection, schema: str) -> None:
    # A session lock: it goes with the connection, however that ends. The timeout holds for advisory locks too.
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [TURN_TIMEOUT])
    connection.execute("SELECT pg_advisory_lock(hashtext('flotilla_migrations'), hashtext(%s))", [schema])
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])


def _prepare_ledger(connection: psycopg.Connection, schema: str) -> None:
    # CREATE SCHEMA IF NOT EXISTS wants the right to create even where there is nothing to do.
    exists = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone()
    if exists is None:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    ledger = connection.execute("SELECT to_regclass(%s)", [f"{schema}.schema_migrations"]).fetchone()
    if ledger is None or ledger[0] is None:
        connection.execute(sql.SQL(_CREATE_LEDGER).format(sql.Identifier(schema)))


def _pending(connection: psycopg.Connection, schema: str, found: Sequence[Migration]) -> list[Migration]:
    query = sql.SQL("SELECT version, checksum FROM {}.schema_migrations").format(sql.Identifier(schema))
    applied: dict[int, str] = dict(connection.execute(query).fetchall())
    newest = max(applied, default=0)
    if newest > len(found):
        # Older code on a newer schema is a rollback of the code: expand migrations make that safe.
        _log.warning("the database is ahead of the files", extra={"schema": schema, "version": newest})
    for migration in found:
        if migration.version in applied and applied[migration.version] != migration.checksum:
            raise MigrationError(f"{migration.name} was changed after it had been applied; write a new migration")
        if migration.version not in applied and migration.version < newest:
            raise MigrationError(f"{migration.name} comes too late; version {newest} is applied already")
    return [migration for migration in found if migration.version not in applied]


def _apply(connection: psycopg.Connection, schema: str, migration: Migration) -> None:
    record = sql.SQL("INSERT INTO {}.schema_migrations (version, name, checksum) VALUES (%s, %s, %s)")
    with connection.transaction():
        connection.execute("SELECT set_config('search_path', %s, true)", [f"{schema},public"])
        try:
            connection.execute(migration.statements)
        except psycopg.Error as exc:
            raise MigrationError(f"{migration.name} failed: {exc}") from exc
        connection.execute(
            record.format(sql.Identifier(schema)), [migration.version, migration.name, migration.checksum]
        )
    _log.info("migration applied", extra={"schema": schema, "migration": migration.name})


def _grant(connection: psycopg.Connection, schema: str, role: str) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        raise MigrationError(f"role {role} does not exist; {schema.upper()}_DATABASE_ROLE names the service's role")
    names = {"schema": sql.Identifier(schema), "role": sql.Identifier(role)}
    with connection.transaction():
        for grant in _GRANTS:
            connection.execute(sql.SQL(grant).format(**names))
        for (table,) in connection.execute(_APPEND_ONLY, [sql.Identifier(schema).as_string(connection)]).fetchall():
            revoke = sql.SQL("REVOKE UPDATE, DELETE ON {schema}.{table} FROM {role}")
            connection.execute(revoke.format(table=sql.Identifier(table), **names))


class _MigrationSettings(ProcessSettings):
    """Where to migrate and whom to let in."""

    migration_database_url: SecretStr
    database_role: str | None = None


def _settings_class(schema: str) -> type[_MigrationSettings]:
    class Settings(_MigrationSettings):
        """The settings under the service's prefix."""

        model_config = SettingsConfigDict(env_prefix=f"{schema.upper()}_")

    return Settings
