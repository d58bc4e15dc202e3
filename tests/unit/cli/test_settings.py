"""The settings that services are started with."""

import itertools
from pathlib import Path

import pytest
from flotilla_cli.home import Home
from flotilla_cli.platform.layout import Platform, lay_out
from flotilla_cli.platform.plan import Plan, Provider
from flotilla_cli.platform.settings import service_environment
from flotilla_cli.platform.table import services, stores
from flotilla_cli.supervisor.leftovers import MARK
from flotilla_common.settings import ProcessSettings
from flotilla_evaluator.settings import EvaluatorSettings
from flotilla_gateway.settings import GatewaySettings
from flotilla_memory.settings import MemorySettings
from flotilla_orchestrator.settings import OrchestratorSettings
from flotilla_tool.settings import ToolSettings


def platform(tmp_path: Path, provider: Provider | None = None, **replicas: int) -> Platform:
    home = Home(tmp_path / "home")
    home.prepare()
    return lay_out(Plan(home, 8080, tmp_path, replicas, provider), home.ports())


def test_peers_of_several_replicas_are_a_comma_list(tmp_path: Path) -> None:
    laid_out = platform(tmp_path, orchestrator=2)

    target = service_environment(laid_out, "gateway", 1)["GATEWAY_ORCHESTRATOR_TARGET"]

    ports = [laid_out.ports[f"orchestrator-{replica}"]["grpc"] for replica in (1, 2)]
    assert target == f"127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"


def test_gateway_replicas_have_neighbouring_ports(tmp_path: Path) -> None:
    laid_out = platform(tmp_path, gateway=3)

    assert [laid_out.ports[f"gateway-{replica}"]["http"] for replica in (1, 2, 3)] == [8080, 8081, 8082]


def test_no_two_processes_share_a_port(tmp_path: Path) -> None:
    laid_out = platform(tmp_path, gateway=2, orchestrator=2, memory=2)

    ports = list(itertools.chain.from_iterable(own.values() for own in laid_out.ports.values()))
    assert len(ports) == len(set(ports))


def test_each_service_connects_as_its_own_role(tmp_path: Path) -> None:
    laid_out = platform(tmp_path)

    for service in ("gateway", "orchestrator", "memory", "tool", "evaluator"):
        url = service_environment(laid_out, service, 1)[f"{service.upper()}_DATABASE_URL"]
        assert url.startswith(f"postgresql://flotilla_{service}:")
        assert url.endswith("/flotilla")


@pytest.mark.parametrize(
    "settings", [GatewaySettings, OrchestratorSettings, MemorySettings, ToolSettings, EvaluatorSettings]
)
def test_every_variable_of_a_service_is_one_that_it_reads(tmp_path: Path, settings: type[ProcessSettings]) -> None:
    prefix = settings.model_config["env_prefix"]
    fields = {f"{prefix}{field}".upper() for field in settings.model_fields}

    given = service_environment(platform(tmp_path), prefix.rstrip("_").lower(), 1)

    assert {name for name in given if name.startswith(prefix)} <= fields | {f"{field}_FILE" for field in fields}


def test_model_key_reaches_only_services_that_use_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOTILLA_MODEL_API_KEY", "sk-real")
    laid_out = platform(tmp_path, Provider("https://models.example/v1", "large"))

    told = {name for name in ("gateway", "tool", "memory", "orchestrator", "evaluator")
            if service_environment(laid_out, name, 1).get("FLOTILLA_MODEL_API_KEY") == "sk-real"}  # fmt: skip

    assert told == {"memory", "orchestrator", "evaluator"}
    assert service_environment(laid_out, "orchestrator", 1)["FLOTILLA_MODEL_NAME"] == "large"


def test_real_key_is_not_given_to_the_development_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOTILLA_MODEL_API_KEY", "sk-real")

    assert "FLOTILLA_MODEL_API_KEY" not in service_environment(platform(tmp_path), "orchestrator", 1)


def test_development_model_runs_only_without_a_provider(tmp_path: Path) -> None:
    keyless = platform(tmp_path)
    real = platform(tmp_path, Provider("https://models.example/v1", "large"))

    assert "model" in {spec.name for group in services(keyless) for spec in group}
    assert "model" not in {spec.name for group in services(real) for spec in group}


def test_every_process_carries_the_mark_of_its_home(tmp_path: Path) -> None:
    laid_out = platform(tmp_path)

    for spec in [*stores(laid_out), *itertools.chain.from_iterable(services(laid_out))]:
        assert spec.environment[MARK] == str(laid_out.plan.home.path)


def test_no_password_is_on_a_command_line(tmp_path: Path) -> None:
    laid_out = platform(tmp_path)
    secrets = {file.read_text() for file in laid_out.plan.home.secrets.iterdir()}

    for spec in [*stores(laid_out), *itertools.chain.from_iterable(services(laid_out))]:
        assert not any(secret in argument for secret in secrets for argument in spec.command)
