"""docker-compose.yaml gives the services settings they know, and the database what the chart gives it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from render import ROOT, Manifest, named
from test_settings import variables_of
from workloads import SERVICES

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting(service: str) -> None:
    given = COMPOSE["services"][service]["environment"].keys()

    assert given <= variables_of(service) | {"APP_ENV"}


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_confined(service: str) -> None:
    container = COMPOSE["services"][service]

    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in container.get("ports", []))


def test_inner_services_see_no_private_key() -> None:
    for service in ("memory", "tool", "evaluator"):
        [volume] = COMPOSE["services"][service]["volumes"]
        assert volume["volume"]["subpath"] == "public"


def test_the_database_is_made_as_the_chart_makes_it(development: list[Manifest]) -> None:
    ours = statements(COMPOSE["configs"]["provision"]["content"])
    charts = statements(named(development, "Secret", "flotilla-postgres")["stringData"]["flotilla.sql"])

    assert {each for each in ours if each.startswith("CREATE")} == {
        each for each in charts if each.startswith("CREATE")
    }
    assert "REVOKE ALL ON DATABASE flotilla FROM PUBLIC" in ours & charts


def statements(text: str) -> set[str]:
    """Returns the statements without passwords and what roles have anyway."""
    plain = re.sub(r" (NOSUPERUSER|NOCREATEDB|NOCREATEROLE|NOBYPASSRLS|IF NOT EXISTS)|PASSWORD '[^']*'", "", text)
    return {" ".join(each.split()) for each in re.sub(r"\\connect \w+", "", plain).split(";")}
