"""The agents in the box and the published schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from flotilla_orchestrator.graphs.file_catalogue import FileCatalogue
from flotilla_orchestrator.graphs.schema import schema_text
from jsonschema import Draft202012Validator

AGENTS = Path(__file__).parents[4] / "agents"
FILES = sorted(AGENTS.glob("*.yaml"))


def test_agents_in_the_box_load_and_compile() -> None:
    catalogue = FileCatalogue.load(AGENTS)

    releases = catalogue.list_active()

    assert [(release.agent, release.pattern) for release in releases] == [
        ("assistant", "react"),
        ("research", "supervisor"),
        ("support", "pipeline"),
    ]
    for release in releases:
        assert "messages" in catalogue.graph(release).channels


def test_published_schema_is_the_models() -> None:
    published = (AGENTS / "agent.schema.json").read_text(encoding="utf-8")

    assert published == schema_text(), "run: python -m flotilla_orchestrator.graphs.schema agents/agent.schema.json"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_agents_in_the_box_fit_the_published_schema_and_point_to_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")

    assert text.startswith("# yaml-language-server: $schema=agent.schema.json\n")
    Draft202012Validator(json.loads(schema_text())).validate(yaml.safe_load(text))


def test_published_schema_refuses_what_the_loader_refuses() -> None:
    validator = Draft202012Validator(json.loads(schema_text()))
    good = yaml.safe_load((AGENTS / "assistant.yaml").read_text(encoding="utf-8"))

    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "promt": "x"})
    assert not validator.is_valid({**good, "pattern": "raect"})
    assert not validator.is_valid({**good, "limits": {"max_steps": 0}})
