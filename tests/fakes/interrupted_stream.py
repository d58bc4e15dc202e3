"""One streamed chat whose services are killed while it streams, and what its reader saw."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from fakes.running_platform import RunningPlatform


@dataclass(slots=True)
class StreamedChat:
    """What the reader of one stream saw."""

    run_id: str = ""
    text: str = ""
    error: dict[str, Any] | None = None
    was_cut: bool = False
    """The connection broke, rather than the stream ending by itself."""
    arrivals_s: list[float] = field(default_factory=list)
    """When each piece of text came, on the monotonic clock."""

    def longest_silence_s(self, after: float) -> float:
        """Returns the longest time between two pieces of text, counted from a moment on the monotonic clock."""
        moments = [after, *(moment for moment in self.arrivals_s if moment > after)]
        return max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)


def stream_chat(
    platform: RunningPlatform, text: str, *, gateway: int = 0, on_piece: Callable[[StreamedChat], None] | None = None
) -> StreamedChat:
    """Streams one answer to its end, calling `on_piece` after each piece of text."""
    chat = StreamedChat()
    body = {"model": "assistant", "stream": True, "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {platform.api_key}"}
    url = f"{platform.url(gateway)}/v1/chat/completions"
    try:
        with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as response:
            response.raise_for_status()
            chat.run_id = response.headers["X-Run-Id"]
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    _take(chat, json.loads(line[6:]), on_piece)
    except httpx.TransportError:
        chat.was_cut = True
    return chat


def _take(chat: StreamedChat, chunk: dict[str, Any], on_piece: Callable[[StreamedChat], None] | None) -> None:
    if "error" in chunk:
        chat.error = chunk["error"]
        return
    pieces = [choice["delta"].get("content") for choice in chunk["choices"]]
    if piece := "".join(filter(None, pieces)):
        chat.text += piece
        chat.arrivals_s.append(time.monotonic())
        if on_piece:
            on_piece(chat)


def read_events(
    platform: RunningPlatform, run_id: str, *, gateway: int = 0, after: int = 0
) -> Iterator[tuple[int, str]]:
    """Yields (sequence, raw JSON) of a run's event log until its stream ends."""
    headers = {"Authorization": f"Bearer {platform.api_key}", "Last-Event-ID": str(after)}
    url = f"{platform.url(gateway)}/v1/runs/{run_id}/events"
    with httpx.stream("GET", url, headers=headers, timeout=60) as response:
        response.raise_for_status()
        sequence = after
        for line in response.iter_lines():
            if line.startswith("id:"):
                sequence = int(line[3:])
            elif line.startswith("data: "):
                yield sequence, line[6:]


def read_events_with_patience(platform: RunningPlatform, run_id: str, *, patience_s: float) -> list[tuple[int, str]]:
    """Returns a run's whole event log, asking again while a frozen orchestrator lets the question time out."""
    log: list[tuple[int, str]] = []

    def is_read() -> bool:
        try:
            log[:] = read_events(platform, run_id)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.GATEWAY_TIMEOUT:
                raise
        return bool(log)

    wait_until("the event log is read", is_read, patience_s=patience_s)
    return log


def read_run(platform: RunningPlatform, run_id: str, *, gateway: int = 0) -> dict[str, Any]:
    """Returns a run as `GET /v1/runs/{run_id}` shows it."""
    headers = {"Authorization": f"Bearer {platform.api_key}"}
    reply = httpx.get(f"{platform.url(gateway)}/v1/runs/{run_id}", headers=headers, timeout=10)
    reply.raise_for_status()
    run: dict[str, Any] = reply.json()
    return run


@dataclass(slots=True)
class KillAfter:
    """Kills the orchestrator that owns the stream's run once a number of pieces has arrived."""

    platform: RunningPlatform
    pieces: int
    killed_at: float = 0.0
    candidates: list[dict[str, Any]] = field(init=False)
    """Looked up before the stream begins, because the command that tells them takes as long as many tokens."""

    def __post_init__(self) -> None:
        self.candidates = self.platform.processes("orchestrator")

    def __call__(self, chat: StreamedChat) -> None:
        if self.killed_at or len(chat.arrivals_s) < self.pieces:
            return
        self.platform.kill(self.platform.owner_among(self.candidates))
        self.killed_at = time.monotonic()


def wait_until(what: str, condition: Callable[[], bool], *, patience_s: float) -> None:
    """Polls until a condition holds. Raises AssertionError naming it after `patience_s`."""
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        pause.wait(0.1)


def numbers(count: int, *, delay_ms: int = 20, salt: str = "") -> str:
    """Returns a question whose answer is the numbers from 1 to `count`, one token each `delay_ms`."""
    directive = f"delay_ms={delay_ms}" + (f" salt={salt}" if salt else "")
    return f"[[dev: {directive}]] Count from 1 to {count}."


def expected_numbers(count: int) -> list[str]:
    """Returns the words of the answer to `numbers(count)`."""
    return [str(number) for number in range(1, count + 1)]


def new_name() -> str:
    """Returns a name that nobody had before."""
    return f"person-{uuid4()}"
