"""The life of API keys over HTTP, on two gateways that share one database and one Valkey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from fakes.gateway import PEPPER, RunningGateway, open_stores, running_gateway
from fakes.orchestrator import FakeOrchestrator
from fakes.servers import ServiceDatabase
from flotilla_common.ids import new_id
from flotilla_gateway.auth.credentials import KeyHasher, mint_key
from flotilla_gateway.limits.shared import SharedLimiter
from flotilla_gateway.model import DEFAULT_TENANT_ID
from flotilla_gateway.service import KeyService
from redis.asyncio import Redis

Two = tuple[RunningGateway, RunningGateway]
PATIENCE_S = 10.0
"""How long Redis is waited for and how long a condition: none of these tests is about time."""
ASK = {"model": "assistant", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture
async def gateways(
    gateway_database: ServiceDatabase, valkey_url: str, orchestrator_at: tuple[FakeOrchestrator, str], tmp_path: Path
) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        running = []
        for _ in range(2):
            stores = await stack.enter_async_context(open_stores(gateway_database))
            redis = Redis.from_url(valkey_url, protocol=2)
            stack.push_async_callback(redis.aclose)
            gateway = running_gateway(
                orchestrator_at[1],
                tmp_path,
                store=stores.keys,
                audit=stores.audit,
                limiter=SharedLimiter(redis, timeout_s=PATIENCE_S),
            )
            running.append(await stack.enter_async_context(gateway))
        yield running[0], running[1]


@pytest.fixture
async def admin(gateways: Two) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin key, on the first gateway."""
    secret = f"fl_admin_{mint_key()}"
    keys = KeyService(gateways[0].store, KeyHasher(PEPPER), on_revoked=lambda: None)
    await keys.install_admin_key(secret)
    async with httpx.AsyncClient(base_url=gateways[0].url, headers={"authorization": f"Bearer {secret}"}) as client:
        yield client


async def make_key(admin: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Makes a key and returns the reply."""
    reply = await admin.post("/v1/keys", json={"name": "test", **body})
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def test_key_is_shown_once_and_only_its_hash_is_kept(
    admin: httpx.AsyncClient, gateways: Two, gateway_database: ServiceDatabase
) -> None:
    made = await make_key(admin, scopes=["chat"])

    listed = (await admin.get("/v1/keys")).json()["data"]
    with psycopg.connect(gateway_database.superuser_url) as connection:
        dump = str(connection.execute("SELECT row_to_json(k)::text FROM gateway.api_keys k").fetchall())
    assert made["key"].startswith(made["prefix"])
    assert made["id"] in [key["id"] for key in listed]
    assert all("key" not in key for key in listed)
    assert made["key"] not in dump
    assert made["key"][len(made["prefix"]) :] not in dump


async def test_key_works_on_every_gateway_until_it_is_revoked(admin: httpx.AsyncClient, gateways: Two) -> None:
    made = await make_key(admin, scopes=["chat"])
    headers = {"x-api-key": made["key"]}

    async with httpx.AsyncClient(headers=headers) as client:
        assert [(await client.get(f"{gateway.url}/v1/models")).status_code for gateway in gateways] == [200, 200]
        revoked = await admin.delete(f"/v1/keys/{made['id']}")
        here = await client.get(f"{gateways[0].url}/v1/models")
        began = time.monotonic()
        while (await client.get(f"{gateways[1].url}/v1/models")).status_code != 401:
            assert time.monotonic() - began < PATIENCE_S
            await asyncio.sleep(0.05)

    assert (revoked.status_code, revoked.json()["deleted"]) == (200, True)
    assert here.status_code == 401
    audit = await gateways[0].audit.list(DEFAULT_TENANT_ID, limit=10)
    assert {(entry.action, entry.outcome) for entry in audit} >= {
        ("create_key", "done"), ("revoke_key", "done"), ("authenticate", "denied"),
    }  # fmt: skip


async def test_expired_key_is_refused(admin: httpx.AsyncClient, gateways: Two) -> None:
    made = await make_key(admin, expires_at=int(time.time()) + 5)
    late = await admin.post("/v1/keys", json={"name": "late", "expires_at": 1})

    async with httpx.AsyncClient(headers={"x-api-key": made["key"]}) as client:
        assert (await client.get(f"{gateways[0].url}/v1/models")).status_code == 200
        began = time.monotonic()
        while (await client.get(f"{gateways[0].url}/v1/models")).status_code != 401:
            assert time.monotonic() - began < PATIENCE_S
            await asyncio.sleep(0.05)

    assert (late.status_code, late.json()["error"]["param"]) == (400, "expires_at")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "x", "scopes": ["root"]}, "scopes[0]"),
        ({"name": "x", "tenant_id": str(new_id())}, "tenant_id"),
        ({"name": "x", "requests_per_minute": 0}, "requests_per_minute"),
    ],
)
async def test_bad_wish_names_the_field(admin: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
    reply = await admin.post("/v1/keys", json=body)

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_keys_are_for_administrators(admin: httpx.AsyncClient, gateways: Two) -> None:
    made = await make_key(admin, scopes=["chat", "embeddings", "act_as"])

    async with httpx.AsyncClient(base_url=gateways[0].url, headers={"x-api-key": made["key"]}) as client:
        replies = [
            await client.get("/v1/keys"),
            await client.post("/v1/keys", json={"name": "mine", "scopes": ["admin"]}),
            await client.delete(f"/v1/keys/{made['id']}"),
        ]

    assert [reply.status_code for reply in replies] == [403] * 3


async def test_unknown_key_id_is_not_found(admin: httpx.AsyncClient) -> None:
    replies = [await admin.delete(f"/v1/keys/{key_id}") for key_id in (new_id(), "nonsense")]

    assert [reply.status_code for reply in replies] == [404, 404]


async def test_end_users_are_kept_apart_and_nobody_shares_a_memory(
    admin: httpx.AsyncClient, gateways: Two, orchestrator_at: tuple[FakeOrchestrator, str]
) -> None:
    made = await make_key(admin, scopes=["chat", "act_as"])
    plain = await make_key(admin, scopes=["chat"])

    async with httpx.AsyncClient(base_url=gateways[0].url) as client:
        for key, user in ((made, "ann"), (made, "bob"), (made, "ann"), (made, None), (plain, "ann"), (plain, None)):
            body = {**ASK, "user": user} if user else ASK
            await client.post("/v1/chat/completions", json=body, headers={"x-api-key": key["key"]})

    claims = [
        jwt.decode(metadata["x-flotilla-identity"], options={"verify_signature": False})
        for metadata in orchestrator_at[0].metadata
    ]
    people = [claim["sub"] for claim in claims]
    remembers = [claim["remembers"] for claim in claims]
    assert people[0] == people[2] != people[1]
    assert people[3] not in people[:3]
    assert people[4] == people[5] == plain["user_id"]
    assert remembers == [True, True, True, False, True, True]


async def test_two_gateways_share_one_limit(admin: httpx.AsyncClient, gateways: Two) -> None:
    limit = 50
    made = await make_key(admin, scopes=["chat"], requests_per_minute=limit)

    async with httpx.AsyncClient(headers={"x-api-key": made["key"]}, timeout=30) as client:
        replies = await asyncio.gather(*(client.get(f"{gateways[at % 2].url}/v1/models") for at in range(3 * limit)))

    allowed = sum(reply.status_code == 200 for reply in replies)
    refused = [reply for reply in replies if reply.status_code == 429]
    assert allowed == limit
    assert allowed + len(refused) == 3 * limit
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
