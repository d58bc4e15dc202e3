"""Fixtures: keys, a signer, and servers on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from contract.common.peer import SERVICE, Peer, Serve, Transport, settings
from fakes.keys import make_keys
from flotilla_common.identity import IdentitySigner
from flotilla_common.identity import signer as signer_module
from flotilla_common.identity import verifier as verifier_module
from flotilla_common.serve import open_server

_MAKERS: dict[str, Callable[..., Any]] = {
    "Unary": grpc.unary_unary_rpc_method_handler,
    "Stream": grpc.unary_stream_rpc_method_handler,
    "Collect": grpc.stream_unary_rpc_method_handler,
    "Talk": grpc.stream_stream_rpc_method_handler,
}


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signer(keys: Path) -> IdentitySigner:
    return IdentitySigner("gateway", keys / "gateway.pem")


@pytest.fixture(params=["plain", "shared"])
def transport(request: pytest.FixtureRequest) -> Transport:
    """Runs a test twice: what calls promise, they promise over both."""
    return Transport(is_shared=request.param == "shared")


@pytest.fixture
async def serve(keys: Path, signer: IdentitySigner, transport: Transport) -> AsyncIterator[Serve]:
    """Starts servers: `peer = await serve(Unary=behavior, app_env="production", default_timeout_s=1)`."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            default_timeout_s: float = 30.0,
            drain: Any = None,
            app_env: str = "test",
            multiplexed: bool = True,
            **behaviors: Any,
        ) -> Peer:
            handlers = {name: _MAKERS[name](behavior) for name, behavior in behaviors.items()}
            server = await stack.enter_async_context(
                open_server(
                    settings(keys, app_env=app_env, multiplexed=multiplexed),
                    service_name="memory",
                    full_service_names=[SERVICE],
                    register=lambda server: server.add_generic_rpc_handlers(
                        (grpc.method_handlers_generic_handler(SERVICE, handlers),)
                    ),
                    drain=drain,
                    default_timeout_s=default_timeout_s,
                )
            )
            channel = await stack.enter_async_context(transport.open(f"127.0.0.1:{server.port}", signer))
            if multiplexed:
                await transport.settle(channel)
            return Peer(server, channel)

        yield start


@pytest.fixture
def rereading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has both ends see at once that a key is another one."""
    monkeypatch.setattr(verifier_module, "RECHECK_S", 0.0)
    monkeypatch.setattr(signer_module, "RECHECK_S", 0.0)
