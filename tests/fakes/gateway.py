"""A gateway as it runs: the real application on a real uvicorn and real channels, on a free port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flotilla_common.identity import IdentitySigner, generate_key_pair
from flotilla_common.ids import new_id
from flotilla_common.lifecycle import Work
from flotilla_common.postgres import Pool, open_pool
from flotilla_common.rpc.channel import open_channel
from flotilla_gateway.app import Parts, create_app
from flotilla_gateway.auth.api_keys import ApiKeyAuthenticator
from flotilla_gateway.auth.credentials import KeyHasher, mint_key, prefix_of
from flotilla_gateway.clients.memory import GrpcMemories
from flotilla_gateway.clients.orchestrator import GrpcOrchestrator
from flotilla_gateway.clients.tool import GrpcTools
from flotilla_gateway.limits.shared import Answer, Limiter
from flotilla_gateway.limits.window import LocalLimiter, Verdict
from flotilla_gateway.middleware.body import Bounds
from flotilla_gateway.model import DEFAULT_TENANT_ID, ApiKey, AuditEntry, Origin, Principal, Scope, StoredKey
from flotilla_gateway.runs.cancel import Canceller
from flotilla_gateway.runs.follow import Patience
from flotilla_gateway.server import HttpServer
from flotilla_gateway.service import KeyService
from flotilla_gateway.stores.audit import AuditLog, InMemoryAuditLog, PostgresAuditLog
from flotilla_gateway.stores.keys import InMemoryKeyStore, KeyStore, PostgresKeyStore
from flotilla_gateway.wires.door import Door
from flotilla_gateway.wires.operations.status import Readiness

from fakes.servers import ServiceDatabase

PEPPER = b"a pepper of at least thirty-two bytes"


@dataclass
class Stores:
    """The gateway's own stores on one database."""

    keys: PostgresKeyStore
    audit: PostgresAuditLog
    pool: Pool


@asynccontextmanager
async def open_stores(database: ServiceDatabase) -> AsyncIterator[Stores]:
    """Opens the stores as the service's own role."""
    async with (
        open_pool(database.url, min_size=1, max_size=3) as pool,
        open_pool(database.url, min_size=1, max_size=2, system=True) as system_pool,
    ):
        yield Stores(PostgresKeyStore(pool, system_pool), PostgresAuditLog(pool), pool)


class AloneLimiter:
    """A limit that one process keeps for itself."""

    def __init__(self) -> None:
        self._local = LocalLimiter()

    async def ask(self, key: str, *, per_minute: int) -> Answer:
        verdict = self._local.take(key, per_minute=per_minute)

        async def answer() -> Verdict:
            return verdict

        return answer


class AnyKey:
    """Takes every credential for the same person's, who may chat."""

    def __init__(self) -> None:
        self._principal = Principal(DEFAULT_TENANT_ID, new_id(), new_id(), frozenset({Scope.CHAT}))

    async def authenticate(self, credential: str, origin: Origin) -> Principal:
        return self._principal


def open_door(*, requests_per_minute: int) -> Door:
    """Returns a door that lets everybody in, but not too often."""
    return Door(AnyKey(), AloneLimiter(), InMemoryAuditLog(), requests_per_minute=requests_per_minute)


def knock(path: str = "/v1/chat/completions") -> dict[str, Any]:
    """Returns the ASGI scope of somebody with a key."""
    return {"path": path, "headers": [(b"x-api-key", b"k")], "state": {"request_id": "r-1", "reply_headers": []}}


@dataclass
class RunningGateway:
    """A gateway that takes requests."""

    url: str
    store: KeyStore
    audit: AuditLog
    authenticator: ApiKeyAuthenticator
    server: HttpServer

    async def key(self, *scopes: Scope, requests_per_minute: int | None = None) -> str:
        """Makes an API key; with no scopes named it may chat and embed."""
        text = mint_key()
        stored = StoredKey(
            ApiKey(
                key_id=new_id(),
                tenant_id=DEFAULT_TENANT_ID,
                user_id=new_id(),
                name="test",
                prefix=prefix_of(text),
                scopes=frozenset(scopes or (Scope.CHAT, Scope.EMBEDDINGS)),
                create_time=datetime.now(UTC),
                requests_per_minute=requests_per_minute,
                user_name=str(new_id()),
            ),
            KeyHasher(PEPPER).hash(text),
        )
        entry = AuditEntry(DEFAULT_TENANT_ID, stored.key.user_id, None, "create_key", "test", "done")
        await self.store.put(stored, tenant_name="default", entry=entry)
        return text


@asynccontextmanager
async def running_gateway(
    target: str,
    folder: Path,
    *,
    store: KeyStore | None = None,
    audit: AuditLog | None = None,
    limiter: Limiter | None = None,
    patience: Patience | None = None,
    bounds: Bounds | None = None,
    origins: list[str] | None = None,
    leaves_target: str | None = None,
    trusted_proxies: Sequence[str] = (),
) -> AsyncIterator[RunningGateway]:
    """Starts a gateway in front of the orchestrator at `target`; its signing keys lie in `folder`."""
    private, public = folder / "gateway.key", folder / "gateway.pub"
    if not private.exists():
        generate_key_pair(private, public)
    signer = IdentitySigner("gateway", private)
    audit = audit or InMemoryAuditLog()
    store = store or InMemoryKeyStore(audit)
    hasher = KeyHasher(PEPPER)
    authenticator = ApiKeyAuthenticator(store, hasher, audit, cache_s=0.5)
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(target, audience="orchestrator", signer=signer))
        leaves = await stack.enter_async_context(
            open_channel(leaves_target or target, audience="memory", signer=signer)
        )
        orchestrator = GrpcOrchestrator(channel)
        canceller = Canceller(orchestrator)
        parts = Parts(
            door=Door(authenticator, limiter or AloneLimiter(), audit, requests_per_minute=100_000),
            keys=KeyService(store, hasher, on_revoked=authenticator.forget),
            orchestrator=orchestrator,
            memories=GrpcMemories(leaves),
            tools=GrpcTools(leaves),
            canceller=canceller,
            readiness=Readiness({"orchestrator": orchestrator.ping}, {}, is_draining=lambda: False),
            work=Work(),
            patience=patience or Patience(start_s=2, watch_s=5),
            bounds=bounds or Bounds(body_timeout_s=2),
            origins=origins or [],
        )
        server = HttpServer(
            create_app(parts),
            host="127.0.0.1",
            port=0,
            graceful_stop_s=5,
            head_timeout_s=2,
            trusted_proxies=trusted_proxies,
        )
        serving = asyncio.create_task(server.serve())
        await _until_started(server, serving)
        url = f"http://127.0.0.1:{server.bound_port}"
        try:
            yield RunningGateway(url, store, audit, authenticator, server)
        finally:
            server.stop()
            await serving
            await canceller.close()


async def until_refused(port: int) -> None:
    """Connects until nobody accepts."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.02)


async def _until_started(server: HttpServer, serving: asyncio.Task[None]) -> None:
    deadline = time.monotonic() + 10
    while not server.started:
        assert not serving.done(), "the server ended while starting"
        assert time.monotonic() < deadline, "the server did not start"
        await asyncio.sleep(0.01)
