"""One chat as a client makes it, and whether its answer is the right one."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import aiohttp
import orjson

from benchmarks.cases import Case
from benchmarks.peers import Endpoint

_LENGTHS = 5
"""Neighbouring chats count to different numbers, so that an answer given to somebody else is seen."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, as it was received."""

    text: str
    user: str
    first_token_at: float
    """By time.perf_counter(); the answer's end where it came in one piece."""
    run_id: str
    """Empty where there are no runs."""


@dataclass(slots=True)
class Ledger:
    """What the client saw: every answer, and every error in words."""

    answers: list[Answer] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    tokens: int = 0


def expected_text(count: int) -> str:
    """Returns the development model's answer to "Count from 1 to N."."""
    return " ".join(str(number) for number in range(1, count + 1))


async def chat(session: aiohttp.ClientSession, endpoint: Endpoint, case: Case, number: int, ledger: Ledger) -> None:
    """Makes one chat and books it; whatever goes wrong is booked as an error."""
    count = case.tokens + number % _LENGTHS
    started = time.perf_counter()
    try:
        answer = await _ask(session, endpoint, case, count, number)
    except (aiohttp.ClientError, TimeoutError, _WrongAnswerError) as error:
        ledger.errors.append(f"{type(error).__name__} {error}"[:300])
        return
    if answer.text.strip() != expected_text(count):
        ledger.errors.append(f"wrong text in {answer.run_id}: {answer.text[:120]!r}")
        return
    ledger.answers.append(answer)
    ledger.first_token_s.append(answer.first_token_at - started)
    ledger.total_s.append(time.perf_counter() - started)
    ledger.tokens += count


class _WrongAnswerError(Exception):
    """The reply is an error, or not what the wire says it should be."""


async def _ask(session: aiohttp.ClientSession, endpoint: Endpoint, case: Case, count: int, number: int) -> Answer:
    user = f"user-{random.randrange(case.people)}" if endpoint.names_users else ""
    body = {
        "model": endpoint.model,
        "stream": case.is_streamed,
        "messages": [{"role": "user", "content": f"Count from 1 to {count}. Do it {case.pace}"}],
        **({"user": user} if user else {}),
    }
    url = endpoint.base_urls[number % len(endpoint.base_urls)]
    headers = {"Authorization": f"Bearer {endpoint.api_key}", "Content-Type": "application/json"}
    async with session.post(f"{url}/v1/chat/completions", data=orjson.dumps(body), headers=headers) as response:
        if response.status != 200:
            raise _WrongAnswerError(f"{response.status} {(await response.text())[:200]}")
        text, first_token_at = await (_read_stream if case.is_streamed else _read_whole)(response)
        return Answer(text, user, first_token_at, response.headers.get("X-Run-Id", ""))


async def _read_whole(response: aiohttp.ClientResponse) -> tuple[str, float]:
    reply = orjson.loads(await response.read())
    return reply["choices"][0]["message"]["content"], time.perf_counter()


async def _read_stream(response: aiohttp.ClientResponse) -> tuple[str, float]:
    first, is_done = 0.0, False
    text: list[str] = []
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        if line.startswith(b"data: [DONE]"):
            is_done = True
            continue
        chunk = orjson.loads(line[6:])
        if "error" in chunk:
            raise _WrongAnswerError(str(chunk["error"]))
        for choice in chunk["choices"]:
            if piece := choice["delta"].get("content"):
                first = first or time.perf_counter()
                text.append(piece)
    if not is_done:
        raise _WrongAnswerError("the stream ended without [DONE]")
    return "".join(text), first
