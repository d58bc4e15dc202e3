"""Requests made up from the published description: whatever is asked, the gateway never fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fakes.gateway import running_gateway
from fakes.orchestrator import fake_orchestrator, serving
from flotilla_gateway.model import Scope
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

Served = tuple[str, str]
BOUNDED = settings(max_examples=20, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway in a thread with a loop of its own: the generated requests are made synchronously."""
    address: Future[Served] = Future()
    loop = asyncio.new_event_loop()
    folder, stop = tmp_path_factory.mktemp("keys"), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(address, stop, folder),))
    thread.start()
    try:
        yield address.result(timeout=20)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


async def _serve(address: Future[Served], stop: asyncio.Event, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(serving(fake_orchestrator()))
        gateway = await stack.enter_async_context(running_gateway(target, folder))
        address.set_result((gateway.url, await gateway.key(*Scope)))
        await stop.wait()


def operations(url: str) -> list[Any]:
    """Returns the operations of the published description."""
    document = httpx.get(f"{url}/openapi.json").json()
    # The leaves are not there, and a 503 is their right answer.
    for path in ("/v1/memories", "/v1/memories/{memory_id}", "/v1/tools"):
        del document["paths"][path]
    found: Any = schemathesis.openapi.from_dict(document).get_all_operations()
    return [result.ok() for result in found]


# It is the gateway, in its thread beside the strategies, that uses the module.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_nothing_that_fits_or_misses_the_schema_breaks_the_gateway(served: Served, mode: GenerationMode) -> None:
    url, key = served
    asked = operations(url)

    for operation in asked:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=20, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        def ask(case: Any) -> None:
            reply = case.call(base_url=url, headers={"Authorization": f"Bearer {key}"})
            assert reply.status_code < 500, reply.text
            assert reply.headers["x-request-id"]

        try:
            ask()
        except Unsatisfiable:
            # An operation without parameters and body cannot be asked wrongly.
            assert mode is GenerationMode.NEGATIVE

    assert len(asked) >= 12
