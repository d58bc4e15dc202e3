"""Loads: a fixed number of users who ask again at once (closed), or chats at a fixed rate (open)."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from benchmarks.cases import Case
from benchmarks.client import Ledger, chat
from benchmarks.peers import Endpoint
from benchmarks.processes import cpu_seconds

_NUMBERS = itertools.count()
_TIMEOUT = aiohttp.ClientTimeout(total=120)
_SEED = 7
_SETTLE_S = 1.0
"""What a chat leaves behind it (memory, evaluator) is part of its cost: so long is waited before CPU is read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of a case did to one peer."""

    ledger: Ledger
    seconds: float
    cpu_s: Mapping[str, float]
    """CPU seconds by process name."""


async def sample(endpoint: Endpoint, case: Case) -> Sample:
    """Runs one round of a case against a peer."""
    ledger = Ledger()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(timeout=_TIMEOUT, connector=connector) as session:
        before = _cpu(endpoint.pids)
        started = time.perf_counter()
        until = started + case.seconds
        if case.chats_per_s:
            await _open_loop(session, endpoint, case, until, ledger)
        else:
            waits_s = (case.ramp_s * number / case.users for number in range(case.users))
            await asyncio.gather(*(_user(session, endpoint, case, wait_s, until, ledger) for wait_s in waits_s))
        elapsed = time.perf_counter() - started
        await asyncio.sleep(_SETTLE_S)
        after = _cpu(endpoint.pids)
    return Sample(ledger, elapsed, {name: after[name] - before[name] for name in after})


async def _user(
    session: aiohttp.ClientSession, endpoint: Endpoint, case: Case, wait_s: float, until: float, ledger: Ledger
) -> None:
    await asyncio.sleep(wait_s)
    while time.perf_counter() < until:
        await chat(session, endpoint, case, next(_NUMBERS), ledger)


async def _open_loop(
    session: aiohttp.ClientSession, endpoint: Endpoint, case: Case, until: float, ledger: Ledger
) -> None:
    """Begins chats at random moments (Poisson, the same ones for every peer), whatever is still under way."""
    gaps, under_way = random.Random(_SEED), set[asyncio.Task[None]]()
    at = time.perf_counter()
    while at < until:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        if len(under_way) >= case.users:
            ledger.errors.append("too many chats are under way")
        else:
            task = asyncio.create_task(chat(session, endpoint, case, next(_NUMBERS), ledger))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        at += gaps.expovariate(case.chats_per_s)
    await asyncio.gather(*under_way)


def _cpu(pids: Mapping[str, Sequence[int]]) -> dict[str, float]:
    return {name: cpu_seconds(found) for name, found in pids.items()}
