"""What row-level security alone must do, for every table of a service."""

from __future__ import annotations

from uuid import UUID

import psycopg
from fakes.servers import ServiceDatabase
from psycopg import sql

_TABLES = """
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity FROM pg_class c
WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'schema_migrations'
"""


def tables_without_wall(database: ServiceDatabase, schema: str) -> list[str]:
    """Returns the tables where row-level security is not forced."""
    with psycopg.connect(database.superuser_url) as connection:
        return [name for name, is_forced in connection.execute(_TABLES, [schema]).fetchall() if not is_forced]


def rows_seen(database: ServiceDatabase, schema: str, tenant_id: UUID | str | None) -> dict[str, int]:
    """Returns how many rows of each table the service's role sees without any WHERE, as one tenant or as none."""
    with psycopg.connect(database.url) as connection:
        if tenant_id is not None:
            connection.execute("SELECT set_config('flotilla.tenant_id', %s, true)", [str(tenant_id)])
        names = [name for name, _ in connection.execute(_TABLES, [schema]).fetchall()]
        count = sql.SQL("SELECT count(*) FROM {}.{}")
        seen = {}
        for name in names:
            row = connection.execute(count.format(sql.Identifier(schema), sql.Identifier(name))).fetchone()
            seen[name] = int(row[0]) if row is not None else 0
    return seen


def may_define_tables(database: ServiceDatabase, schema: str) -> bool:
    """Says whether the service's role could create a table in its schema."""
    with psycopg.connect(database.url) as connection:
        row = connection.execute("SELECT has_schema_privilege(%s, 'CREATE')", [schema]).fetchone()
    return row is not None and bool(row[0])
