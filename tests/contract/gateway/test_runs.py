"""Runs seen from outside: kept apart by key, followed by number, cancelled when their client is gone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx
import openai
import pytest
from fakes.gateway import RunningGateway
from fakes.orchestrator import Cut, FakeOrchestrator, Pause, done, failed, interrupted, token
from flotilla.orchestrator.v1 import event_pb2 as events
from openai import AsyncOpenAI

ASK: Any = [{"role": "user", "content": "Hello?"}]


async def started(orchestrator: FakeOrchestrator) -> str:
    """Waits for a run to be accepted and returns its id."""
    async with asyncio.timeout(10):
        await orchestrator.accepted.wait()
    return orchestrator.last.request.run_id


async def test_same_key_is_the_same_run_streamed_or_not(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    pause = Pause()
    orchestrator.script = lambda _: [token("one"), pause, token(" two"), done("one two")]
    headers = {"Idempotency-Key": "order-66"}

    async def ask_whole() -> tuple[str, str | None]:
        raw = await client.chat.completions.with_raw_response.create(
            model="assistant", messages=ASK, extra_headers=headers
        )
        return raw.headers["x-run-id"], raw.parse().choices[0].message.content

    first = asyncio.create_task(ask_whole())
    run_id = await started(orchestrator)
    stream = await client.chat.completions.create(model="assistant", messages=ASK, stream=True, extra_headers=headers)
    pause.gate.set()
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == "one two"
    assert await first == await ask_whole() == (run_id, "one two")
    assert len(orchestrator.runs) == 1


async def test_same_key_with_another_body_is_refused(client: AsyncOpenAI) -> None:
    headers = {"Idempotency-Key": "order-67"}
    await client.chat.completions.create(model="assistant", messages=ASK, extra_headers=headers)

    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await client.chat.completions.create(model="assistant", messages=ASK, temperature=0.5, extra_headers=headers)

    assert caught.value.code == "idempotency_key_reused"


@pytest.mark.parametrize("stream", [False, True])
async def test_client_gone_cancels_the_run_at_once(
    client: AsyncOpenAI, orchestrator: FakeOrchestrator, stream: bool
) -> None:
    orchestrator.script = lambda _: [token("one"), Pause(), done("one")]

    if stream:
        chunks = await client.chat.completions.create(model="assistant", messages=ASK, stream=True)
        await chunks.close()
    else:
        chat = asyncio.create_task(client.chat.completions.create(model="assistant", messages=ASK))
        await started(orchestrator)
        chat.cancel()

    async with asyncio.timeout(10):
        await orchestrator.last.cancelled.wait()


@pytest.mark.parametrize("how", ["metadata", "key"])
async def test_client_that_means_to_come_back_cancels_nothing(
    client: AsyncOpenAI, orchestrator: FakeOrchestrator, how: str
) -> None:
    pause = Pause()
    orchestrator.script = lambda _: [token("one"), pause, done("one")]
    extra: Any = (
        {"extra_headers": {"Idempotency-Key": "k"}} if how == "key" else {"metadata": {"on_disconnect": "continue"}}
    )

    chat = asyncio.create_task(client.chat.completions.create(model="assistant", messages=ASK, **extra))
    run_id = await started(orchestrator)
    chat.cancel()
    pause.gate.set()

    await until_succeeded(client, run_id)
    assert not orchestrator.last.cancelled.is_set()


async def until_succeeded(client: AsyncOpenAI, run_id: str) -> Any:
    """Asks for the run until it has succeeded."""
    async with asyncio.timeout(10):
        while True:
            run: Any = await client.get(f"/runs/{run_id}", cast_to=object)
            if run["status"] == "succeeded":
                return run
            await asyncio.sleep(0.01)


async def test_run_shows_answer_usage_and_cost(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    reply = await client.chat.completions.create(model="assistant", messages=ASK, metadata={"team": "blue"})

    run = await until_succeeded(client, reply.id.removeprefix("chatcmpl-"))

    assert (run["object"], run["agent"], run["wire"], run["finish_reason"]) == ("run", "assistant", "openai", "stop")
    assert (run["answer"]["role"], run["answer"]["content"]) == ("assistant", "Hello from Flotilla.")
    assert run["usage"]["total_tokens"] == 11
    assert run["usage"]["models"][0] == {
        "model": "dev",
        "input_tokens": 5,
        "output_tokens": 3,
        "cost_micro_usd": 7,
    }
    assert run["metadata"] == {"team": "blue"}


async def test_failed_run_shows_class_and_reason(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    orchestrator.script = lambda _: [failed("step_limit")]
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model="assistant", messages=ASK)

    run: Any = await client.get(f"/runs/{caught.value.response.headers['x-run-id']}", cast_to=object)

    assert run["status"] == "failed"
    assert run["error"] == {"class": "permanent", "reason": "step_limit", "message": "It failed: step_limit."}


@pytest.mark.parametrize("run_id", ["nonsense", "0197c111-0000-7000-8000-00000000dead"])
@pytest.mark.parametrize("path", ["", "/events", "/cancel"])
async def test_unknown_run_is_not_found(client: AsyncOpenAI, run_id: str, path: str) -> None:
    ask = client.post if path == "/cancel" else client.get

    with pytest.raises(openai.NotFoundError):
        await ask(f"/runs/{run_id}{path}", cast_to=object)


async def test_cancel_asks_the_orchestrator(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    orchestrator.script = lambda _: [Pause()]
    chat = asyncio.create_task(client.chat.completions.create(model="assistant", messages=ASK))
    run_id = await started(orchestrator)

    await client.post(f"/runs/{run_id}/cancel", cast_to=object)

    assert orchestrator.last.cancelled.is_set()
    chat.cancel()


@pytest.mark.parametrize(
    ("query", "headers", "first"), [("", {}, 1), ("?after=2", {}, 3), ("", {"Last-Event-ID": "3"}, 4)]
)
async def test_events_are_replayed_after_a_number(
    gateway: RunningGateway,
    client: AsyncOpenAI,
    orchestrator: FakeOrchestrator,
    query: str,
    headers: dict[str, str],
    first: int,
) -> None:
    reply = await client.chat.completions.create(model="assistant", messages=ASK)
    run_id = reply.id.removeprefix("chatcmpl-")

    async with httpx.AsyncClient(headers={"x-api-key": client.api_key, **headers}) as http:
        body = (await http.get(f"{gateway.url}/v1/runs/{run_id}/events{query}")).text

    ids = [int(line[4:]) for line in body.splitlines() if line.startswith("id: ")]
    assert ids == list(range(first, 6))
    assert body.startswith("retry: 1000\n")
    assert '"type":"done"' in body.splitlines()[-2]


@pytest.mark.parametrize("end", [done("Hi."), failed("step_limit"), interrupted()], ids=["done", "failed", "waiting"])
async def test_who_has_read_all_of_a_run_that_is_over_is_told_not_to_come_back(
    gateway: RunningGateway, client: AsyncOpenAI, orchestrator: FakeOrchestrator, end: events.RunEvent
) -> None:
    orchestrator.script = lambda _: [token("Hi."), end]
    with contextlib.suppress(openai.APIError):
        await client.chat.completions.create(model="assistant", messages=ASK)
    url = f"{gateway.url}/v1/runs/{orchestrator.last.request.run_id}/events"

    async with httpx.AsyncClient(headers={"x-api-key": client.api_key}, timeout=5) as http:
        whole = await http.get(url)
        rest = await http.get(url, headers={"Last-Event-ID": "3"})

    assert [line for line in whole.text.splitlines() if line.startswith("id: ")] == ["id: 1", "id: 2", "id: 3"]
    assert (rest.status_code, rest.content) == (204, b"")


async def test_events_of_a_run_that_begins_to_wait_end_there(
    gateway: RunningGateway, client: AsyncOpenAI, orchestrator: FakeOrchestrator
) -> None:
    pause = Pause()
    orchestrator.script = lambda _: [token("a"), pause, interrupted()]
    chat = asyncio.create_task(client.chat.completions.create(model="assistant", messages=ASK))
    run_id = await started(orchestrator)

    async with httpx.AsyncClient(headers={"x-api-key": client.api_key}, timeout=5) as http:
        watching = asyncio.create_task(http.get(f"{gateway.url}/v1/runs/{run_id}/events"))
        pause.gate.set()
        body = (await watching).text
    with pytest.raises(openai.APIStatusError):
        await chat

    assert '"type":"interrupted"' in body.splitlines()[-2]
    assert "event: error" not in body


async def test_events_go_on_after_a_broken_stream(
    gateway: RunningGateway, client: AsyncOpenAI, orchestrator: FakeOrchestrator
) -> None:
    pause = Pause()
    orchestrator.script = lambda _: [token("a"), pause, Cut(), token("b"), done("ab")]
    chat = asyncio.create_task(client.chat.completions.create(model="assistant", messages=ASK))
    run_id = await started(orchestrator)

    async with httpx.AsyncClient(headers={"x-api-key": client.api_key}) as http:
        watching = asyncio.create_task(http.get(f"{gateway.url}/v1/runs/{run_id}/events"))
        pause.gate.set()
        body = (await watching).text
    await chat

    assert [line for line in body.splitlines() if line.startswith("id: ")] == [f"id: {n}" for n in range(1, 5)]


async def test_nonsense_event_number_is_a_bad_request(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    reply = await client.chat.completions.create(model="assistant", messages=ASK)

    with pytest.raises(openai.BadRequestError) as caught:
        await client.get(f"/runs/{reply.id}/events?after=soon", cast_to=object)

    assert caught.value.param == "after"
