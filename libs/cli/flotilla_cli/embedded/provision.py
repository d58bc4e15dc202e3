"""Databases, schemas and roles: an owner with DDL, and one role without it for each service."""

from collections.abc import Mapping
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

SERVICES = ("gateway", "orchestrator", "memory", "tool", "evaluator")
OWNER = "flotilla_owner"
DATABASE = "flotilla"


def role_of(service: str) -> str:
    """Returns the role that the service connects as."""
    return f"flotilla_{service}"


def provision_roles(superuser_url: str, passwords: Mapping[str, str]) -> None:
    """Creates the owner and the services' roles, or sets their passwords again; keys of passwords are role names."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        for role, password in passwords.items():
            verb = sql.SQL("ALTER" if role in known else "CREATE")
            options = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD")
            _run(connection, "{} ROLE {} {} {}", verb, sql.Identifier(role), options, sql.Literal(password))
        for service in SERVICES:
            # A service's own schema first; public holds nothing but the vector extension.
            names = sql.Identifier(role_of(service)), sql.Identifier(service)
            _run(connection, "ALTER ROLE {} SET search_path = {}, public", *names)


def provision_database(superuser_url: str, database: str = DATABASE, *, template: str | None = None) -> None:
    """Creates the database unless it exists, with the extension and a schema for each service.

    A copy of a template has these already; only the right to connect is not copied.
    """
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        name = sql.Identifier(database)
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            source = sql.Identifier(template or "template0")
            _run(connection, "CREATE DATABASE {} OWNER {} TEMPLATE {}", name, sql.Identifier(OWNER), source)
        _run(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
        roles = sql.SQL(", ").join(sql.Identifier(role_of(service)) for service in SERVICES)
        _run(connection, "GRANT CONNECT ON DATABASE {} TO {}", name, roles)
    if template is None:
        _provision_schemas(make_conninfo(superuser_url, dbname=database))


def drop_database(superuser_url: str, database: str) -> None:
    """Drops the database and ends the sessions in it."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        _run(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", sql.Identifier(database))


def _provision_schemas(superuser_url: str) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        for service in SERVICES:
            names = sql.Identifier(service), sql.Identifier(OWNER)
            _run(connection, "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}", *names)


def _run(connection: psycopg.Connection, statement: LiteralString, *parts: sql.Composable) -> None:
    connection.execute(sql.SQL(statement).format(*parts))
