from __future__ import annotations

from pathlib import Path

import pytest
from fakes.agent_files import write_files
from flotilla_common.errors import NotFoundError
from flotilla_orchestrator.graphs.file_catalogue import FileCatalogue

AGENT = """name: {name}
description: A test.
pattern: react
prompt: p.md
tools: [clock]
memory: {{recall: false, tools: true}}
limits: {{max_steps: 4, time_limit: 90s}}
observe_ratio: 0.25
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> FileCatalogue:
    files = {"b.yaml": AGENT.format(name="bea"), "a.yaml": AGENT.format(name="ada"), "p.md": "I am {{agent}}."}
    return FileCatalogue.load(write_files(tmp_path, files))


def test_active_releases_are_ordered_by_name(catalogue: FileCatalogue) -> None:
    assert [release.agent for release in catalogue.list_active()] == ["ada", "bea"]


def test_release_says_what_the_engine_needs(catalogue: FileCatalogue) -> None:
    release = catalogue.resolve("ada")

    assert release.tools == ("clock", "remember", "search_memory")
    assert (release.recalls, release.commits_turns, release.observe_ratio) == (False, True, 0.25)
    assert (release.limits.max_steps, release.limits.time_limit_s) == (4, 90.0)
    assert len(release.hash) == 64


@pytest.mark.parametrize("digits", [8, 20, 64])
def test_resolve_finds_a_release_by_the_beginning_of_its_hash(catalogue: FileCatalogue, digits: int) -> None:
    release = catalogue.resolve("ada")

    assert catalogue.resolve(f"ada@{release.hash[:digits].upper()}") is release


@pytest.mark.parametrize("name", ["eve", "ada@", "ada@1234567", "ada@00000000", "", "ADA"])
def test_resolve_of_what_is_not_there_is_not_found(catalogue: FileCatalogue, name: str) -> None:
    with pytest.raises(NotFoundError):
        catalogue.resolve(name)


def test_resolve_refuses_a_hash_that_is_too_short(catalogue: FileCatalogue) -> None:
    with pytest.raises(NotFoundError):
        catalogue.resolve(f"ada@{catalogue.resolve('ada').hash[:7]}")


def test_graph_is_compiled_once_a_release(catalogue: FileCatalogue) -> None:
    ada, bea = catalogue.list_active()

    assert catalogue.graph(ada) is catalogue.graph(ada)
    assert catalogue.graph(ada) is not catalogue.graph(bea)


def test_langgraphs_own_limit_lies_beyond_the_agents(catalogue: FileCatalogue) -> None:
    graph = catalogue.graph(catalogue.resolve("ada"))

    assert graph.config is not None
    assert graph.config["recursion_limit"] > 2 * 4
