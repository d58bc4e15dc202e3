from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from flotilla_llm import ModelClient, Route, RouteTable, open_models
from flotilla_llm.development.server import RunningModel, running_model
from flotilla_llm.routes import Breaker, Retry
from prometheus_client import CollectorRegistry

OpenClient = Callable[..., Any]


@pytest.fixture
async def development_model() -> AsyncIterator[RunningModel]:
    """A development model of this test's own."""
    async with running_model() as model:
        yield model


@pytest.fixture
def registry() -> CollectorRegistry:
    """Where this test's metrics go."""
    return CollectorRegistry()


@pytest.fixture
async def open_client(
    development_model: RunningModel, registry: CollectorRegistry
) -> AsyncIterator[Callable[..., Any]]:
    """Opens clients on named routes; a route's fields are overridden by keyword."""
    async with AsyncExitStack() as stack:

        async def open_client(**routes: dict[str, Any]) -> ModelClient:
            defaults: dict[str, Any] = {
                "base_url": development_model.base_url,
                "model": "flotilla-dev",
                "sends_metadata": True,
                "retry": Retry(attempts=2, base_delay_s=0),
                "breaker": Breaker(failures=1000),
            }
            table = RouteTable(routes={name: Route(**defaults | fields) for name, fields in routes.items()})
            return await stack.enter_async_context(open_models(table, registry=registry))

        yield open_client


@pytest.fixture
async def models(open_client: Callable[..., Any]) -> ModelClient:
    """A client with the routes `default` and `embedding`."""
    client: ModelClient = await open_client(default={}, embedding={"model": "flotilla-dev-embed"})
    return client
