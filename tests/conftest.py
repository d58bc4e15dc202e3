"""Fixtures for every package: a real Postgres and a real Valkey, each started once per run."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fakes.servers import PostgresServer, ServiceDatabase, running_postgres, running_valkey
from hypothesis import HealthCheck, settings

# A busy machine makes examples slow, and says nothing about them.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A Postgres with pgvector and the roles of all services."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def database(postgres_server: PostgresServer, _module_end: ExitStack) -> Callable[[str], ServiceDatabase]:
    """Makes fresh migrated databases, `database("memory")`; each lives until the end of the test module."""

    def create(service: str) -> ServiceDatabase:
        created = postgres_server.create_database(service)
        _module_end.callback(postgres_server.drop_database, created)
        return created

    return create


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The URL of an empty Valkey, shared by all tests: use keys of your own."""
    with running_valkey() as url:
        yield url


@pytest.fixture(scope="session")
def _module_end() -> ExitStack:
    """What happens when a module's tests are over."""
    return ExitStack()


@pytest.fixture(scope="module", autouse=True)
def _drop_databases_of_module(_module_end: ExitStack) -> Iterator[None]:
    """Keeps the disk small: a database is some 8 MB, and a run creates hundreds."""
    yield
    _module_end.close()
