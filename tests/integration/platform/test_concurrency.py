"""The same thing asked for many times at once, over both gateways."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
from fakes.interrupted_stream import numbers
from fakes.running_platform import RunningPlatform


async def test_one_idempotency_key_is_one_run_however_often_it_comes(platform: RunningPlatform) -> None:
    key = f"once-{uuid4()}"

    replies = await _ask(platform, times=50, headers={"Idempotency-Key": key}, delay_ms=5)

    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.headers["x-run-id"] for reply in replies}) == 1
    assert len({reply.text for reply in replies}) == 1


async def test_busy_thread_is_a_conflict_in_openais_shape(platform: RunningPlatform) -> None:
    replies = await _ask(platform, times=4, headers={"X-Thread-Id": str(uuid4())}, delay_ms=250)

    assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409]
    refused = next(reply for reply in replies if reply.status_code == 409)
    assert refused.json()["error"]["code"] == "thread_busy"
    assert refused.headers["x-should-retry"] == "false"


async def _ask(
    platform: RunningPlatform, *, times: int, headers: dict[str, str], delay_ms: int
) -> list[httpx.Response]:
    body: dict[str, Any] = {
        "model": "assistant",
        "messages": [{"role": "user", "content": numbers(20, delay_ms=delay_ms)}],
    }
    headers = {"Authorization": f"Bearer {platform.api_key}", **headers}
    async with httpx.AsyncClient(headers=headers, timeout=60) as client:
        urls = [f"{platform.url(at % 2)}/v1/chat/completions" for at in range(times)]
        return await asyncio.gather(*(client.post(url, json=body) for url in urls))
