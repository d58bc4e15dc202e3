"""Fixtures: a cluster with the images in it, and the release that the scenarios of a module share."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e import evidence, figures
from e2e.command import must
from e2e.edge import Edge
from e2e.images import Images, prepare_images
from e2e.node import Node, running_node
from e2e.release import Release


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A cluster."""
    began = time.monotonic()
    with running_node() as node:
        figures.note("set-up", {"node, seconds": round(time.monotonic() - began, 1)})
        yield node


@pytest.fixture(scope="session")
def images(node: Node) -> Images:
    """Two versions of all services, in the node."""
    began = time.monotonic()
    made = prepare_images(node)
    figures.note("set-up", {"images, seconds": round(time.monotonic() - began, 1)})
    return made


@pytest.fixture(scope="session")
def empty_release(node: Node, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A namespace that enforces `restricted`, with nothing in it yet."""
    release = Release(node, images, tmp_path_factory.mktemp("values"))
    keep = bool(os.environ.get("FLOTILLA_E2E_KEEP"))
    release.create_namespace(keep=keep)
    try:
        yield release
    finally:
        if not keep:
            release.delete_namespace()


@pytest.fixture(scope="session")
def installed(empty_release: Release) -> Release:
    """The release, installed once."""
    began = time.monotonic()
    outcome = must(empty_release.upgrade())
    empty_release.install_s = round(time.monotonic() - began, 1)
    figures.note("install", {"ready, seconds": empty_release.install_s})
    assert "would violate" not in outcome.stderr, outcome.stderr
    return empty_release


@pytest.fixture
def release(installed: Release) -> Release:
    """The installed release as the e2e values describe it, whatever the scenario before did."""
    installed.ensure()
    return installed


@pytest.fixture
def edge(node: Node) -> Edge:
    """The way in."""
    return Edge(node.url)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keeps what there is to see when a scenario fails."""
    report = yield
    node = getattr(item, "funcargs", {}).get("node")
    if report.failed and isinstance(node, Node):
        report.sections.append(("evidence", str(evidence.collect(node, Path(item.nodeid).name.replace("::", "-")))))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints all figures."""
    terminalreporter.section("figures")
    for line in figures.lines():
        terminalreporter.write_line(line)
