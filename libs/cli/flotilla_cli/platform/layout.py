"""What the processes of one platform have in common: stores, ports, passwords, keys."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flotilla_cli.embedded.ports import LOOPBACK
from flotilla_cli.embedded.postgres import EmbeddedPostgres
from flotilla_cli.embedded.provision import DATABASE, OWNER, SERVICES, role_of
from flotilla_cli.embedded.valkey import EmbeddedValkey
from flotilla_cli.home import Home, PortBook
from flotilla_cli.platform.plan import Plan

MODEL = "model"


@dataclass(frozen=True, slots=True)
class Platform:
    """A plan with everything that had to be decided for it."""

    plan: Plan
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    ports: Mapping[str, Mapping[str, int]]
    """By label (`memory-1`), then by purpose (`grpc`)."""

    shell: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where the first gateway listens."""
        return f"http://{LOOPBACK}:{self.plan.port}"

    @property
    def model_url(self) -> str:
        """Where the development model listens."""
        return f"http://{LOOPBACK}:{self.ports[f'{MODEL}-1']['http']}/v1"

    def database_url(self, role: str) -> str:
        """Returns the URL of the platform's database for a role."""
        return self.postgres.url(role, role_password(self.plan.home, role), DATABASE)

    def target(self, service: str) -> str:
        """Returns the addresses of the service's replicas, with commas between them."""
        labels = [f"{service}-{replica}" for replica in range(1, self.plan.count(service) + 1)]
        return ",".join(f"{LOOPBACK}:{self.ports[label]['grpc']}" for label in labels)


def lay_out(plan: Plan, book: PortBook) -> Platform:
    """Returns the platform of a plan with ports from the book; secrets are made on first use."""
    ports = _assign_ports(plan, book)
    home = plan.home
    return Platform(
        plan=plan,
        postgres=EmbeddedPostgres(home.postgres, ports["postgres-1"]["sql"], home.secret("postgres-superuser")),
        valkey=EmbeddedValkey(home.valkey, ports["valkey-1"]["redis"], home.secret("valkey")),
        ports=ports,
        shell=os.environ,
    )


def role_password(home: Home, role: str) -> str:
    """Returns the password of a database role."""
    return home.secret(f"role-{role}")


def role_passwords(home: Home) -> dict[str, str]:
    """Returns the passwords of the owner and of every service."""
    return {role: role_password(home, role) for role in (OWNER, *map(role_of, SERVICES))}


def private_key_file(home: Home, issuer: str) -> Path:
    """Returns where an issuer's private key lies."""
    return home.secrets / f"{issuer}.key"


def _assign_ports(plan: Plan, book: PortBook) -> dict[str, dict[str, int]]:
    book.reserve(range(plan.port, plan.port + plan.count("gateway")))
    ports = {
        "postgres-1": {"sql": book.port("postgres-1.sql")},
        "valkey-1": {"redis": book.port("valkey-1.redis")},
    }
    if plan.provider is None:
        ports[f"{MODEL}-1"] = {"http": book.port(f"{MODEL}-1.http")}
    for service in SERVICES:
        for replica in range(1, plan.count(service) + 1):
            ports[f"{service}-{replica}"] = _service_ports(plan, book, service, replica)
    return ports


def _service_ports(plan: Plan, book: PortBook, service: str, replica: int) -> dict[str, int]:
    label = f"{service}-{replica}"
    if service == "gateway":
        # It serves its health beside its API.
        return {"http": plan.port + replica - 1, "metrics": book.port(f"{label}.metrics")}
    return {purpose: book.port(f"{label}.{purpose}") for purpose in ("grpc", "health", "metrics")}
