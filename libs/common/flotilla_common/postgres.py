"""Connections to Postgres: a pool per process, and transactions that see one tenant's rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests
from pydantic import SecretStr

from flotilla_common.errors import (
    AbortedError,
    DeadlineExceededError,
    FlotillaError,
    InvalidArgumentError,
    UnavailableError,
)
from flotilla_common.lane import Lane
from flotilla_common.link import is_readable

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]

TENANT = "flotilla.tenant_id"
EVERY_TENANT = "*"
"""The value of the setting that row-level security lets see all rows."""
NAMED_TENANT = f"set_config('{TENANT}', %(tenant)s::uuid::text, true)::uuid"
"""An expression that names the tenant of the transaction and returns it.

For busy statements that are a transaction of their own, which saves the two round trips of `tenant_transaction`. Such a
statement takes it from a materialized CTE and reads tables in LATERAL subqueries of that alone, so that nothing is read
before the tenant is named; what is read too early shows no rows, nor can it be written.
"""
ROLE_PREFIX = "flotilla_"
OPEN_TIMEOUT_S = 10.0
"""How long the database may take to answer at start, and how long a connection is tried again on its own.

Its pauses double, so that after a long outage the next try would come late; once it gave up, whoever needs a connection
begins anew.
"""
PREPARED_MAX = 500
_ERRORS: tuple[tuple[type[Exception], type[FlotillaError], str, str], ...] = (
    # The first row that fits counts: psycopg's own OperationalError is the parent of the others.
    (psycopg.errors.SerializationFailure, AbortedError, "write_conflict", "another write came first"),
    (psycopg.errors.DeadlockDetected, AbortedError, "write_conflict", "another write came first"),
    (psycopg.errors.LockNotAvailable, AbortedError, "write_conflict", "another write holds the lock"),
    (psycopg.errors.ProgramLimitExceeded, InvalidArgumentError, "too_large", "the values are too large to be stored"),
    (psycopg.errors.StatementTooComplex, InvalidArgumentError, "too_large", "the values are too large to be stored"),
    (psycopg.errors.QueryCanceled, DeadlineExceededError, "statement_timeout", "the database took too long"),
    (PoolTimeout, UnavailableError, "database_busy", "no database connection is free"),
    (TooManyRequests, UnavailableError, "database_busy", "no database connection is free"),
    (PoolClosed, UnavailableError, "database_unavailable", "the database is away"),
    (psycopg.OperationalError, UnavailableError, "database_unavailable", "the database is away"),
    (psycopg.InterfaceError, UnavailableError, "database_unavailable", "the database is away"),
)


class Pool(AsyncConnectionPool[Connection]):
    """A pool that keeps at most half of its connections for lanes."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._lanes: list[Lane] = []
        self._background: set[asyncio.Task[None]] = set()
        self.kept = 0
        """Connections that lanes hold at the moment."""

    def lane(self) -> Lane:
        """Returns a lane of its own for statements that would wait for each other anyway."""
        lane = Lane(self)
        self._lanes.append(lane)
        return lane

    async def close(self, timeout: float = 5.0) -> None:
        """Closes the pool and what its lanes have kept."""
        for lane in self._lanes:
            await lane.close()
        await asyncio.gather(*self._background, return_exceptions=True)
        await super().close(timeout)

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts work that goes on when whoever waits for it is cancelled; `close` waits for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


@asynccontextmanager
async def open_pool(
    url: str | SecretStr,
    *,
    min_size: int = 2,
    max_size: int = 10,
    system: bool = False,
    schema: str | None = None,
    application_name: str | None = None,
    wait_s: float = 5.0,
    plans_once: bool = False,
) -> AsyncIterator[Pool]:
    """Opens a pool of autocommit connections that prepare their statements.

    schema: what names without a schema mean; by default the role's name without "flotilla_".
    system: for background work that spans tenants.
    wait_s: how long a caller waits for a free connection.
    plans_once: whether a connection plans a statement once, for all values and for as long as the table's statistics
      are the same. Left alone, Postgres plans statements over arrays each time, because it does not know their length.

    Raises UnavailableError if the database cannot be reached.
    """
    settings = {TENANT: EVERY_TENANT} if system else {}
    if plans_once:
        settings["plan_cache_mode"] = "force_generic_plan"
    conninfo = _conninfo(url, settings, schema=schema, application_name=application_name)
    pool = Pool(
        conninfo,
        min_size=min_size,
        max_size=max_size,
        timeout=wait_s,
        reconnect_timeout=OPEN_TIMEOUT_S,
        kwargs={"autocommit": True, "prepare_threshold": 2},
        configure=_configure,
        check=_check_open,
        open=False,
    )
    try:
        await _open(pool)
        yield pool
    finally:
        await asyncio.shield(pool.close())


@asynccontextmanager
async def tenant_transaction(pool: Pool, tenant_id: UUID) -> AsyncIterator[Connection]:
    """Opens a transaction in which row-level security shows only one tenant's rows; commits, or rolls back on error."""
    async with pool.connection() as connection:
        # One message, so one round trip, opens the transaction and names the tenant; a UUID needs no quoting.
        await connection.execute(f"BEGIN; SELECT set_config('{TENANT}', '{UUID(int=tenant_id.int)}', true)".encode())
        yield connection


@asynccontextmanager
async def system_transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Opens a transaction on a pool that was opened with system=True; commits, or rolls back on error."""
    async with pool.connection() as connection, connection.transaction():
        yield connection


@contextmanager
def map_database_errors() -> Iterator[None]:
    """Turns the database's failures into ours; a defect of a statement stays what it is."""
    try:
        yield
    except (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests) as exc:
        for kind, error, reason, message in _ERRORS:
            if isinstance(exc, kind):
                raise error(message, reason=reason) from exc
        raise


def schema_of(role: str) -> str:
    """Returns the schema of a service's role: flotilla_memory works in memory."""
    return role.removeprefix(ROLE_PREFIX)


async def _configure(connection: Connection) -> None:
    # An attribute of the connection; as an argument of connect it would be taken for a setting of the server.
    connection.prepared_max = PREPARED_MAX


async def _open(pool: Pool) -> None:
    try:
        await pool.open(wait=True, timeout=OPEN_TIMEOUT_S)
    except PoolTimeout as exc:
        raise UnavailableError("the database is away", reason="database_unavailable") from exc


async def _check_open(connection: Connection) -> None:
    """Finds a connection that the server closed while it lay idle, so that a restart fails nobody.

    Asks the socket, which costs microseconds; only if there is something to read does it ask the server.
    """
    if is_readable(connection.fileno()):
        await AsyncConnectionPool.check_connection(connection)


def _conninfo(
    url: str | SecretStr, settings: Mapping[str, str], *, schema: str | None, application_name: str | None
) -> str:
    given = conninfo_to_dict(url.get_secret_value() if isinstance(url, SecretStr) else url)
    schema = schema or schema_of(str(given.get("user") or ""))
    options = [str(given.get("options") or "")]
    # `public` holds the vector type, which an administrator installs.
    options += [f"-c search_path={schema},public"] if schema else []
    options += [f"-c {name}={value}" for name, value in settings.items()]
    defaults = {"connect_timeout": 5, "keepalives_idle": 30, "keepalives_interval": 5, "keepalives_count": 3}
    name = application_name or str(given.get("application_name") or f"{ROLE_PREFIX}{schema}")
    return make_conninfo("", **{**defaults, **given, "options": " ".join(options).strip(), "application_name": name})
