"""Closed-loop streamed chats: `python -m benchmarks.chat --home DIR --users 50 --seconds 60`.

Each user asks for the numbers from 1 to N, with an N of its own, and reads the stream to its end. A chat counts only
when its text is exactly those numbers in order; afterwards every acknowledged run is read back by its id and has to
hold the same answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson

from benchmarks.platform import Platform, cpu_seconds, find_platform, resident_bytes


@dataclass(slots=True)
class Ledger:
    """What the client saw: one entry an answer, and every error in words."""

    answers: dict[str, str] = field(default_factory=dict)
    """Text by run id."""
    first_token_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def expected_text(count: int) -> str:
    """Returns the development model's answer to "Count from 1 to N."."""
    return " ".join(str(number) for number in range(1, count + 1))


async def _chat(session: aiohttp.ClientSession, url: str, count: int, ledger: Ledger) -> None:
    body = {
        "model": "assistant",
        "stream": True,
        "messages": [{"role": "user", "content": f"Count from 1 to {count}."}],
    }
    started, first, text = time.perf_counter(), None, []
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        if response.status != 200:
            ledger.errors.append(f"{response.status} {(await response.text())[:200]}")
            return
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = orjson.loads(line[6:])
            if "error" in chunk:
                ledger.errors.append(str(chunk["error"]))
                return
            for choice in chunk["choices"]:
                if piece := choice["delta"].get("content"):
                    first = first or time.perf_counter() - started
                    text.append(piece)
        run_id = response.headers["X-Run-Id"]
    answer = "".join(text)
    if answer.strip() != expected_text(count):
        ledger.errors.append(f"wrong text in {run_id}: {answer[:120]!r}")
        return
    ledger.answers[run_id] = answer
    ledger.first_token_s.append(first or 0.0)
    ledger.total_s.append(time.perf_counter() - started)


async def _user(session: aiohttp.ClientSession, url: str, count: int, until: float, ledger: Ledger) -> None:
    while time.perf_counter() < until:
        try:
            await _chat(session, url, count, ledger)
        except (aiohttp.ClientError, TimeoutError) as error:
            ledger.errors.append(repr(error))


async def _missing_rows(session: aiohttp.ClientSession, url: str, answers: dict[str, str]) -> int:
    """Returns how many acknowledged answers are not stored as they were streamed."""
    gate = asyncio.Semaphore(16)

    async def differs(run_id: str, text: str) -> bool:
        async with gate, session.get(f"{url}/v1/runs/{run_id}") as response:
            run = await response.json()
            return response.status != 200 or (run.get("answer") or {}).get("content") != text

    return sum(await asyncio.gather(*(differs(run_id, text) for run_id, text in answers.items())))


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000 if values else 0.0


async def measure(platform: Platform, *, users: int, seconds: float, tokens: int) -> dict[str, object]:
    """Runs the load and returns its figures: times in ms, CPU in ms per chat by service."""
    ledger = Ledger()
    headers = {"Authorization": f"Bearer {platform.api_key}"}
    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
        before = {name: cpu_seconds(pids) for name, pids in platform.pids.items()}
        started = time.perf_counter()
        urls = platform.base_urls
        await asyncio.gather(
            *(_user(session, urls[i % len(urls)], tokens + i % 7, started + seconds, ledger) for i in range(users))
        )
        elapsed = time.perf_counter() - started
        used = {name: cpu_seconds(pids) - before[name] for name, pids in platform.pids.items()}
        missing = await _missing_rows(session, urls[0], ledger.answers)
    chats = max(len(ledger.answers), 1)
    return {
        "users": users,
        "chats": len(ledger.answers),
        "errors": len(ledger.errors),
        "error_examples": ledger.errors[:3],
        "missing_rows": missing,
        "chats_per_s": round(len(ledger.answers) / elapsed, 1),
        "first_token_ms": {
            p: round(_percentile(ledger.first_token_s, int(p[1:]) / 100), 1) for p in ("p50", "p95", "p99")
        },
        "total_ms": {p: round(_percentile(ledger.total_s, int(p[1:]) / 100), 1) for p in ("p50", "p95", "p99")},
        "mean_total_ms": round(statistics.fmean(ledger.total_s) * 1000, 1) if ledger.total_s else 0.0,
        "cpu_ms_per_chat": {name: round(value * 1000 / chats, 3) for name, value in sorted(used.items())},
        "rss_mb": {name: resident_bytes(pids) // 2**20 for name, pids in sorted(platform.pids.items())},
    }


def main() -> int:
    """Measures, prints JSON, and returns 1 when any chat failed or was not stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path.home() / ".flotilla", help="home of the running platform")
    parser.add_argument("--users", type=int, default=50, help="chats in flight")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long new chats are begun")
    parser.add_argument("--tokens", type=int, default=50, help="numbers in the shortest answer")
    arguments = parser.parse_args()
    figures = asyncio.run(
        measure(
            find_platform(arguments.home), users=arguments.users, seconds=arguments.seconds, tokens=arguments.tokens
        )
    )
    print(json.dumps(figures, indent=2))
    return 1 if figures["errors"] or figures["missing_rows"] or not figures["chats"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
