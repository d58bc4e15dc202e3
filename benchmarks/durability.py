"""Whether what was answered is stored: every acknowledged run is read back by its id through the public API."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from benchmarks.client import Answer
from benchmarks.peers import Endpoint

_AT_ONCE = 32


async def lost_runs(endpoint: Endpoint, answers: Sequence[Answer]) -> list[str]:
    """Returns the runs whose stored answer is not the one that was given; it should be empty."""
    gate = asyncio.Semaphore(_AT_ONCE)
    headers = {"Authorization": f"Bearer {endpoint.api_key}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def is_lost(answer: Answer) -> bool:
            url = f"{endpoint.base_urls[0]}/v1/runs/{answer.run_id}"
            async with gate, session.get(url, params={"user": answer.user}) as response:
                run = await response.json() if response.status == 200 else {}
                return (run.get("answer") or {}).get("content") != answer.text

        verdicts = await asyncio.gather(*map(is_lost, answers))
    return [answer.run_id for answer, lost in zip(answers, verdicts, strict=True) if lost]
