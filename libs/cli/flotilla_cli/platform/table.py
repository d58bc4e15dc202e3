"""The process table: what runs, with which settings, on which ports."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from flotilla_cli.embedded.ports import LOOPBACK
from flotilla_cli.embedded.postgres import STOP_SIGNAL, EmbeddedPostgres
from flotilla_cli.embedded.provision import DATABASE, OWNER, SERVICES, role_of
from flotilla_cli.embedded.tether import tether
from flotilla_cli.embedded.valkey import EmbeddedValkey
from flotilla_cli.home import Home, PortBook
from flotilla_cli.platform.environment import base_environment, model_settings, own_settings
from flotilla_cli.platform.plan import Plan
from flotilla_cli.supervisor.leftovers import MARK
from flotilla_cli.supervisor.readiness import blocking_check, grpc_check, http_check
from flotilla_cli.supervisor.spec import ProcessSpec

DEVELOPMENT_MODEL = "flotilla-dev"
DEVELOPMENT_EMBEDDING_MODEL = "flotilla-dev-embed"
MODEL_PROCESS = "model"
_LEAVES = ("memory", "tool", "evaluator")
_USES_MODELS = frozenset({"orchestrator", "memory", "evaluator"})
# What a service calls: where its settings name the peers' targets.
_PEERS = {"gateway": ("orchestrator", *_LEAVES), "orchestrator": _LEAVES}
_DRAIN_S = 3


@dataclass(frozen=True, slots=True)
class Platform:
    """Every process of a plan."""

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

    def database_url(self, role: str) -> str:
        """Returns the URL of the platform's database for a role."""
        return self.postgres.url(role, role_password(self.plan.home, role), DATABASE)

    def stores(self) -> list[ProcessSpec]:
        """Returns Postgres and Valkey, which everything else needs."""
        return [self._postgres(), self._valkey()]

    def services(self) -> list[list[ProcessSpec]]:
        """Returns the rest, callees before callers, so that stopping in the opposite order cuts nobody off."""
        leaves = [spec for service in _LEAVES for spec in self._replicas(service)]
        model = [] if self.plan.provider else [self._development_model()]
        return [[*model, *leaves], self._replicas("orchestrator"), self._replicas("gateway")]

    def _postgres(self) -> ProcessSpec:
        return ProcessSpec(
            name="postgres",
            command=tuple(self.postgres.command()),
            is_ready=blocking_check(self.postgres.is_ready),
            environment=self._base(),
            ports=self.ports["postgres-1"],
            stop_signal=STOP_SIGNAL,
            stop_timeout_s=20,
            uid=self.postgres.uid(),
            gid=self.postgres.gid(),
        )

    def _valkey(self) -> ProcessSpec:
        return ProcessSpec(
            name="valkey",
            command=(*tether(SIGTERM), *self.valkey.command()),
            is_ready=blocking_check(self.valkey.is_ready),
            environment=self._base(),
            ports=self.ports["valkey-1"],
        )

    def _development_model(self) -> ProcessSpec:
        ports = self.ports[f"{MODEL_PROCESS}-1"]
        return ProcessSpec(
            name=MODEL_PROCESS,
            command=(*_module("flotilla_llm.development"), "--port", str(ports["http"])),
            is_ready=http_check(ports["http"], "/v1/models"),
            environment={**self._base(), "APP_ENV": "development"},
            ports=ports,
        )

    def _replicas(self, service: str) -> list[ProcessSpec]:
        return [self._service(service, replica) for replica in range(1, self.plan.count(service) + 1)]

    def _service(self, service: str, replica: int) -> ProcessSpec:
        ports = self.ports[f"{service}-{replica}"]
        is_gateway = service == "gateway"
        return ProcessSpec(
            name=service,
            replica=replica,
            command=_module(f"flotilla_{service}"),
            is_ready=http_check(ports["http"], "/ready") if is_gateway else grpc_check(ports["health"]),
            environment=self._environment(service, replica, ports),
            ports=ports,
        )

    def _environment(self, service: str, replica: int, ports: Mapping[str, int]) -> dict[str, str]:
        prefix = service.upper()
        ours = {
            "HOST": LOOPBACK,
            "REPLICA": f"{service}-{replica}",
            "LOG_FORMAT": "json",
            "DRAIN_MAX_S": str(_DRAIN_S),
            "DATABASE_URL": self.database_url(role_of(service)),
            "IDENTITY_KEYS_DIR": str(self.plan.home.public_keys),
            **{f"{purpose.upper()}_PORT": str(port) for purpose, port in ports.items()},
            **{f"{peer.upper()}_TARGET": self._target(peer) for peer in _PEERS.get(service, ())},
            **self._particulars(service),
        }
        return {
            **self._base(),
            "APP_ENV": "development",
            **own_settings(self.shell, prefix),
            **{f"{prefix}_{name}": value for name, value in ours.items()},
            **(self._model_settings() if service in _USES_MODELS else {}),
        }

    def _particulars(self, service: str) -> dict[str, str]:
        home = self.plan.home
        if service == "gateway":
            return {
                "REDIS_URL": self.valkey.url(),
                "IDENTITY_PRIVATE_KEY_FILE": str(private_key_file(home, "gateway")),
                "KEY_PEPPER_FILE": str(home.secrets / "key-pepper"),
                "ADMIN_KEY_FILE": str(home.admin_key_file),
            }
        if service == "orchestrator":
            key_file = private_key_file(home, "orchestrator")
            return {"IDENTITY_PRIVATE_KEY_FILE": str(key_file), "AGENTS_DIR": str(self.plan.agents)}
        return {}

    def _target(self, service: str) -> str:
        labels = [f"{service}-{replica}" for replica in range(1, self.plan.count(service) + 1)]
        return ",".join(f"{LOOPBACK}:{self.ports[label]['grpc']}" for label in labels)

    def _model_settings(self) -> dict[str, str]:
        provider = self.plan.provider
        if provider is not None:
            return {**provider.default_settings(), **model_settings(self.shell), **provider.settings()}
        return {
            "FLOTILLA_MODEL_BASE_URL": f"http://{LOOPBACK}:{self.ports[f'{MODEL_PROCESS}-1']['http']}/v1",
            "FLOTILLA_MODEL_NAME": DEVELOPMENT_MODEL,
            "FLOTILLA_EMBEDDING_MODEL": DEVELOPMENT_EMBEDDING_MODEL,
        }

    def _base(self) -> dict[str, str]:
        return {**base_environment(self.shell), MARK: str(self.plan.home.path), "PYTHONUNBUFFERED": "1"}


def build_platform(plan: Plan, book: PortBook) -> Platform:
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
    ports = {
        "postgres-1": {"sql": book.port("postgres-1.sql")},
        "valkey-1": {"redis": book.port("valkey-1.redis")},
    }
    if plan.provider is None:
        ports[f"{MODEL_PROCESS}-1"] = {"http": book.port(f"{MODEL_PROCESS}-1.http")}
    for service in SERVICES:
        for replica in range(1, plan.count(service) + 1):
            ports[f"{service}-{replica}"] = _service_ports(plan, book, service, replica)
    return ports


def _service_ports(plan: Plan, book: PortBook, service: str, replica: int) -> dict[str, int]:
    label = f"{service}-{replica}"
    own = {"http": plan.port + replica - 1} if service == "gateway" else {"grpc": book.port(f"{label}.grpc")}
    return own | {purpose: book.port(f"{label}.{purpose}") for purpose in ("health", "metrics")}


def _module(name: str) -> tuple[str, ...]:
    return (*tether(SIGTERM), sys.executable, "-m", name)
