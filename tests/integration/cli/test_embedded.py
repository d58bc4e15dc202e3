"""The embedded servers, as the command and the tests use them."""

import secrets
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from fakes.servers import PostgresServer
from flotilla_cli.embedded.provision import OWNER, provision_database, role_of
from redis import Redis
from redis.exceptions import AuthenticationError


@pytest.fixture
def fresh(postgres_server: PostgresServer) -> str:
    name = f"fresh_{secrets.token_hex(4)}"
    provision_database(postgres_server.superuser_url, name)
    return name


def test_postgres_is_version_18_with_vectors(postgres_server: PostgresServer, fresh: str) -> None:
    with psycopg.connect(postgres_server.url(role_of("memory"), fresh)) as connection:
        version = connection.execute("SHOW server_version_num").fetchone()
        distance = connection.execute("SELECT '[1,2]'::vector <-> '[1,4]'::vector").fetchone()

    assert version is not None
    assert version[0].startswith("18")
    assert distance == (2.0,)


def test_postgres_refuses_a_wrong_password(postgres_server: PostgresServer, fresh: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.server.url(role_of("memory"), "wrong", fresh))


def test_service_role_has_no_ddl(postgres_server: PostgresServer, fresh: str) -> None:
    with (
        psycopg.connect(postgres_server.url(role_of("memory"), fresh)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("CREATE TABLE public.mine (id int)")


def test_service_role_cannot_read_another_services_schema(postgres_server: PostgresServer, fresh: str) -> None:
    with psycopg.connect(postgres_server.url(OWNER, fresh), autocommit=True) as owner:
        owner.execute("CREATE TABLE tool.secret (id int)")

    with (
        psycopg.connect(postgres_server.url(role_of("memory"), fresh)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT * FROM tool.secret")


def test_service_role_finds_its_own_schema_first(postgres_server: PostgresServer, fresh: str) -> None:
    with psycopg.connect(postgres_server.url(role_of("tool"), fresh)) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("tool, public",)


def test_owner_may_migrate_but_is_no_superuser(postgres_server: PostgresServer, fresh: str) -> None:
    with psycopg.connect(postgres_server.url(OWNER, fresh), autocommit=True) as owner:
        owner.execute("CREATE TABLE memory.facts (embedding vector(3))")
        is_superuser = owner.execute("SHOW is_superuser").fetchone()

    assert is_superuser == ("off",)


def test_database_from_template_keeps_roles_and_extension(postgres_server: PostgresServer, fresh: str) -> None:
    provision_database(postgres_server.superuser_url, f"{fresh}_copy", template=fresh)

    with psycopg.connect(postgres_server.url(role_of("evaluator"), f"{fresh}_copy")) as connection:
        assert connection.execute("SELECT '[1]'::vector <-> '[3]'::vector").fetchone() == (2.0,)


def test_valkey_answers_with_its_password(valkey_url: str) -> None:
    with Redis.from_url(valkey_url) as client:
        assert client.ping()


def test_valkey_refuses_a_stranger(valkey_url: str) -> None:
    url = valkey_url.replace(f":{urlsplit(valkey_url).password}@", ":wrong@")

    with Redis.from_url(url) as client, pytest.raises(AuthenticationError):
        client.ping()


def test_embedded_folder_stays_private(postgres_server: PostgresServer) -> None:
    folder: Path = postgres_server.server.folder

    assert folder.stat().st_mode & 0o777 == 0o700
