"""Clients that go away while their answer is made: the model is stopped with them, unless they mean to come back."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fakes.interrupted_stream import expected_numbers, numbers, read_run, wait_until
from fakes.running_platform import RunningPlatform

COUNT = 300
STOPPED_WITHIN_S = 1.0


@pytest.fixture(scope="module")
def stats_url(platform: RunningPlatform) -> str:
    """Where the model says what it did; looked up before, because looking takes longer than stopping may."""
    (model,) = platform.processes("model")
    return f"http://127.0.0.1:{model['ports']['http']}/dev/stats"


@pytest.mark.parametrize(("agent", "calls"), [("assistant", 1), ("support", 2)], ids=["assistant", "support"])
def test_model_stops_when_the_reader_of_a_stream_goes_away(
    platform: RunningPlatform, stats_url: str, agent: str, calls: int
) -> None:
    cancelled = _stats(stats_url)["cancelled"]

    # The last of these calls is the long one: who sorts a question has done so before a client that leaves is missed.
    run_id = _leave_stream(platform, stats_url, calls=calls, model=agent)

    wait_until("the model is stopped", lambda: _stats(stats_url)["cancelled"] > cancelled, patience_s=STOPPED_WITHIN_S)
    wait_until("the run is cancelled", lambda: read_run(platform, run_id)["status"] == "cancelled", patience_s=30)


async def test_model_stops_when_the_client_of_a_whole_answer_goes_away(
    platform: RunningPlatform, stats_url: str
) -> None:
    stats = _stats(stats_url)
    before, requests = stats["cancelled"], stats["requests"]
    async with httpx.AsyncClient(headers=_key(platform), timeout=30) as client:
        asking = asyncio.create_task(client.post(_url(platform), json=_body()))
        await asyncio.to_thread(_wait_until_the_model_answers, stats_url, after=requests)
        asking.cancel()
        await asyncio.wait([asking])

    assert asking.cancelled()
    wait_until("the model is stopped", lambda: _stats(stats_url)["cancelled"] > before, patience_s=STOPPED_WITHIN_S)


@pytest.mark.parametrize(
    ("changes", "headers"),
    [({"metadata": {"on_disconnect": "continue"}}, {}), ({}, {"Idempotency-Key": f"comes-back-{uuid4()}"})],
    ids=["on_disconnect", "idempotency_key"],
)
def test_run_goes_on_for_a_client_that_means_to_come_back(
    platform: RunningPlatform, stats_url: str, changes: dict[str, Any], headers: dict[str, str]
) -> None:
    cancelled = _stats(stats_url)["cancelled"]

    run_id = _leave_stream(platform, stats_url, headers=headers, **changes)

    wait_until("the run is done", lambda: read_run(platform, run_id)["status"] == "succeeded", patience_s=30)
    assert read_run(platform, run_id)["answer"]["content"].split() == expected_numbers(COUNT)
    assert _stats(stats_url)["cancelled"] == cancelled


def _leave_stream(
    platform: RunningPlatform,
    stats_url: str,
    *,
    calls: int = 1,
    headers: dict[str, str] | None = None,
    **changes: Any,
) -> str:
    """Waits until the model works on so many calls' last, closes the connection and returns the run's id."""
    before = _stats(stats_url)["requests"]
    body, headers = _body(stream=True, **changes), _key(platform) | (headers or {})
    with httpx.stream("POST", _url(platform), json=body, headers=headers, timeout=30) as response:
        response.raise_for_status()
        _wait_until_the_model_answers(stats_url, after=before + calls - 1)
        return str(response.headers["x-run-id"])


def _wait_until_the_model_answers(stats_url: str, *, after: int) -> None:
    def answers() -> bool:
        stats = _stats(stats_url)
        return stats["active"] > 0 and stats["requests"] > after

    wait_until("the model answers", answers, patience_s=30)


def _body(**changes: Any) -> dict[str, Any]:
    question = {"role": "user", "content": numbers(COUNT, delay_ms=20)}
    return {"model": "assistant", "messages": [question], **changes}


def _stats(stats_url: str) -> dict[str, int]:
    stats: dict[str, int] = httpx.get(stats_url, timeout=5).json()
    return stats


def _url(platform: RunningPlatform) -> str:
    return f"{platform.url()}/v1/chat/completions"


def _key(platform: RunningPlatform) -> dict[str, str]:
    return {"Authorization": f"Bearer {platform.api_key}"}
