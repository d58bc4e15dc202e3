"""One platform for all tests of this folder: two gateways, two orchestrators, everything else once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.running_platform import RunningPlatform
from openai import OpenAI


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """Starts the platform once."""
    running = RunningPlatform.start(Path(tempfile.mkdtemp(prefix="flotilla-test-")))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def client(platform: RunningPlatform) -> Iterator[OpenAI]:
    """The stock OpenAI client on the first gateway."""
    with OpenAI(base_url=f"{platform.url()}/v1", api_key=platform.api_key) as openai:
        yield openai
