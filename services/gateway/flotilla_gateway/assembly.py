"""From settings to an application: the one place that names concrete classes."""

from __future__ import annotations

from contextlib import AsyncExitStack

from flotilla_common.identity import IdentitySigner
from flotilla_common.lifecycle import Lifecycle, Work
from flotilla_common.metrics import serve_metrics
from flotilla_common.migrations import latest_version, require_schema
from flotilla_common.postgres import Pool, open_pool
from flotilla_common.rpc.channel import open_channel
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.types import ASGIApp

from flotilla_gateway.app import Parts, create_app
from flotilla_gateway.auth.api_keys import ApiKeyAuthenticator
from flotilla_gateway.auth.credentials import KeyHasher
from flotilla_gateway.clients.memory import GrpcMemories
from flotilla_gateway.clients.orchestrator import SHORT_STREAMS, GrpcOrchestrator
from flotilla_gateway.clients.tool import GrpcTools
from flotilla_gateway.limits.shared import SharedLimiter
from flotilla_gateway.middleware.body import Bounds
from flotilla_gateway.runs.cancel import Canceller
from flotilla_gateway.runs.follow import Patience
from flotilla_gateway.service import KeyService
from flotilla_gateway.settings import GatewaySettings
from flotilla_gateway.stores.audit import PostgresAuditLog
from flotilla_gateway.stores.keys import PostgresKeyStore
from flotilla_gateway.wires.door import Door
from flotilla_gateway.wires.operations.status import Readiness

_REDIS_CONNECT_TIMEOUT_S = 0.25


async def assemble(settings: GatewaySettings, stack: AsyncExitStack) -> tuple[ASGIApp, Readiness]:
    """Opens all that the gateway holds, on a stack that closes it again; returns the application and its readiness."""
    pool, system_pool = await _open_pools(settings, stack)
    redis = _redis(settings)
    stack.push_async_callback(redis.aclose)
    hasher = KeyHasher(settings.key_pepper.get_secret_value().encode())
    audit, store = PostgresAuditLog(pool), PostgresKeyStore(pool, system_pool)
    authenticator = ApiKeyAuthenticator(store, hasher, audit, cache_s=settings.key_cache_s)
    keys = KeyService(store, hasher, on_revoked=authenticator.forget)
    if settings.admin_key is not None:
        await keys.install_admin_key(settings.admin_key.get_secret_value())
    limiter = SharedLimiter(redis, local_share=settings.local_limit_share)
    orchestrator, memories, tools = await _open_peers(settings, stack)
    canceller = Canceller(orchestrator)
    stack.push_async_callback(canceller.close)
    lifecycle = _lifecycle(settings)
    await stack.enter_async_context(serve_metrics(settings.metrics_port, settings.host, lifecycle))
    readiness = _readiness(pool, redis, orchestrator, lifecycle)
    parts = Parts(
        door=Door(authenticator, limiter, audit, requests_per_minute=settings.requests_per_minute),
        keys=keys,
        orchestrator=orchestrator,
        memories=memories,
        tools=tools,
        canceller=canceller,
        readiness=readiness,
        work=lifecycle.work,
        patience=Patience(start_s=settings.start_patience_s, watch_s=settings.watch_patience_s),
        bounds=Bounds(settings.max_body_bytes, settings.max_json_depth, settings.body_timeout_s),
        origins=settings.allowed_origins(),
    )
    return create_app(parts), readiness


async def _open_pools(settings: GatewaySettings, stack: AsyncExitStack) -> tuple[Pool, Pool]:
    most = settings.database_connections
    pool = await stack.enter_async_context(open_pool(settings.database_url, min_size=1, max_size=most))
    system_pool = await stack.enter_async_context(
        open_pool(settings.database_url, min_size=1, max_size=most, system=True)
    )
    await require_schema(pool, "gateway", latest_version("flotilla_gateway"))
    return pool, system_pool


async def _open_peers(
    settings: GatewaySettings, stack: AsyncExitStack
) -> tuple[GrpcOrchestrator, GrpcMemories, GrpcTools]:
    signer = IdentitySigner("gateway", settings.identity_private_key_file)
    channels = {
        peer: await stack.enter_async_context(
            open_channel(
                target, audience=peer, signer=signer, multiplexed=settings.multiplexed, short_streams=SHORT_STREAMS
            )
        )
        for peer, target in (
            ("orchestrator", settings.orchestrator_target),
            ("memory", settings.memory_target),
            ("tool", settings.tool_target),
        )
    }
    return GrpcOrchestrator(channels["orchestrator"]), GrpcMemories(channels["memory"]), GrpcTools(channels["tool"])


def _redis(settings: GatewaySettings) -> Redis:
    # No retries, and no time-out for each read and write: who asks says how long an answer may take.
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=None,
        socket_connect_timeout=_REDIS_CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _lifecycle(settings: GatewaySettings) -> Lifecycle:
    async def stop_taking() -> None:
        """Nothing is to be done: the load balancer sees /ready."""

    return Lifecycle(work=Work(), drain_max_s=settings.drain_max_s, stop_taking=stop_taking)


def _readiness(pool: Pool, redis: Redis, orchestrator: GrpcOrchestrator, lifecycle: Lifecycle) -> Readiness:
    async def ask_database() -> None:
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")

    async def ask_redis() -> None:
        await redis.ping()

    return Readiness(
        needed={"database": ask_database, "orchestrator": orchestrator.ping},
        useful={"redis": ask_redis},
        is_draining=lambda: lifecycle.is_draining,
    )
