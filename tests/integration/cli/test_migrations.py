"""Every service's migrations, as a job on a cluster runs them."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
from fakes.servers import PostgresServer, ServiceDatabase
from flotilla_cli.embedded.provision import OWNER, SERVICES, provision_database
from flotilla_common.migrations import latest_version


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_run_as_a_program_and_again(postgres_server: PostgresServer, service: str) -> None:
    name = f"migrated_{secrets.token_hex(4)}"
    provision_database(postgres_server.superuser_url, name)
    variable = f"{service.upper()}_MIGRATION_DATABASE_URL"
    environment = {**os.environ, "APP_ENV": "test", variable: postgres_server.url(OWNER, name)}

    for _ in range(2):
        command = [sys.executable, "-m", f"flotilla_{service}.migrate"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    with psycopg.connect(postgres_server.url(OWNER, name)) as connection:
        found = connection.execute(f"SELECT max(version) FROM {service}.schema_migrations").fetchone()
    assert found == (latest_version(f"flotilla_{service}"),)


@pytest.mark.parametrize("service", SERVICES)
def test_no_table_is_without_row_level_security(database: Callable[[str], ServiceDatabase], service: str) -> None:
    query = """
        SELECT c.relname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
    """

    with psycopg.connect(database(service).owner_url) as connection:
        assert connection.execute(query, [service]).fetchall() == []
