"""A leaf service on a real gRPC server in this process, and callers with tokens of a real issuer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest
from flotilla_common.identity import Identity, IdentitySigner, IdentityVerifier, generate_key_pair
from flotilla_common.rpc.channel import open_channel
from flotilla_common.serve import open_server
from flotilla_common.settings import ServiceSettings
from grpc import aio


def person(*, tenant_id: UUID | None = None, remembers: bool = True, scopes: tuple[str, ...] = ()) -> Identity:
    """Returns somebody new, in a tenant of their own unless one is given."""
    return Identity(tenant_id=tenant_id or uuid4(), user_id=uuid4(), remembers=remembers, scopes=frozenset(scopes))


async def code_of(call: Awaitable[object]) -> grpc.StatusCode:
    """Returns how a call fails; one that does not is a failed test."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    code = caught.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


@asynccontextmanager
async def leaf_channel(
    folder: Path,
    *,
    service: str,
    full_name: str,
    register: Callable[[aio.Server], None],
    verifier: IdentityVerifier | None = None,
) -> AsyncIterator[aio.Channel]:
    """Starts the service on free ports and opens a channel that speaks for the current identity.

    The issuers' public keys are in the subfolder `keys`, the orchestrator's private one is `orchestrator.pem`.
    """
    keys = folder / "keys"
    keys.mkdir()
    generate_key_pair(folder / "orchestrator.pem", keys / "orchestrator.pub")
    generate_key_pair(folder / "gateway.pem", keys / "gateway.pub")
    settings = ServiceSettings(
        app_env="test", host="127.0.0.1", grpc_port=0, health_port=0, metrics_port=0, identity_keys_dir=keys
    )
    async with (
        open_server(
            settings, service_name=service, full_service_names=[full_name], register=register, verifier=verifier
        ) as server,
        open_channel(
            f"127.0.0.1:{server.port}",
            audience=service,
            signer=IdentitySigner("orchestrator", folder / "orchestrator.pem"),
        ) as channel,
    ):
        yield channel
