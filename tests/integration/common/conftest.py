"""What touches sockets below a library is tried on the services' event loop and on Python's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Runs the lanes' tests on both."""
    factories = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return factories if item.path.name == "test_lane.py" else {"asyncio": asyncio.new_event_loop}
