"""Postgres and Valkey that die or cut connections while answers stream: nothing is lost, nothing falsely accepted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
from fakes.interrupted_stream import (
    StreamedChat,
    expected_numbers,
    numbers,
    read_events,
    read_run,
    stream_chat,
    wait_until,
)
from fakes.running_platform import RunningPlatform

STREAMS, COUNT = 6, 120
QUESTION = numbers(COUNT, delay_ms=40)


@pytest.fixture(autouse=True)
def everything_is_up(platform: RunningPlatform) -> None:
    """Waits until what an earlier test killed is back."""

    def ready() -> bool:
        names = ("postgres", "valkey", "orchestrator", "gateway")
        return all(row["state"] == "ready" for name in names for row in platform.processes(name))

    wait_until("everything runs", ready, patience_s=40)


@dataclass(slots=True)
class Visitor:
    """Asks short questions again and again, and keeps what came back."""

    platform: RunningPlatform
    replies: list[httpx.Response] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Asks until it is stopped."""
        body = {"model": "assistant", "messages": [{"role": "user", "content": numbers(3, delay_ms=1)}]}
        headers = {"Authorization": f"Bearer {self.platform.api_key}"}
        url = f"{self.platform.url(1)}/v1/chat/completions"
        with httpx.Client(timeout=40, headers=headers) as client:
            while not self._stopping.wait(0.2):
                self.replies.append(client.post(url, json=body))

    def stop(self) -> None:
        """Ends the asking after the present question."""
        self._stopping.set()

    def check(self) -> None:
        """Asserts that each 2xx was a whole answer of a run that is stored, and each refusal one to be tried again."""
        assert self.replies
        for reply in self.replies:
            if reply.status_code == httpx.codes.OK:
                assert read_run(self.platform, reply.headers["X-Run-Id"])["status"] == "succeeded"
                assert reply.json()["choices"][0]["message"]["content"].split() == expected_numbers(3)
            else:
                assert reply.status_code == httpx.codes.SERVICE_UNAVAILABLE, reply.text
                assert int(reply.headers["Retry-After"]) >= 1


@dataclass(slots=True)
class Traffic:
    """Streams in flight, with a visitor beside them."""

    chats: list[Future[StreamedChat]]
    visitor: Visitor

    def finished(self) -> list[StreamedChat]:
        """Returns the streams once they have ended."""
        return [chat.result() for chat in self.chats]


@contextmanager
def traffic(platform: RunningPlatform) -> Iterator[Traffic]:
    """Opens streams and returns when each has said something; leaving it stops the visitor."""
    speaking: set[str] = set()
    visitor = Visitor(platform)

    def note(chat: StreamedChat) -> None:
        speaking.add(chat.run_id)

    with ThreadPoolExecutor(STREAMS + 1) as pool:
        visiting = pool.submit(visitor.run)
        chats = [
            pool.submit(stream_chat, platform, QUESTION, gateway=place % 2, on_piece=note) for place in range(STREAMS)
        ]
        try:
            wait_until("all streams speak", lambda: len(speaking) == STREAMS, patience_s=30)
            yield Traffic(chats, visitor)
        finally:
            visitor.stop()
        visiting.result()


def check_whole(platform: RunningPlatform, chats: list[StreamedChat]) -> None:
    """Asserts that every stream was whole, and its log dense."""
    for chat in chats:
        assert chat.error is None
        assert not chat.was_cut
        assert chat.text.split() == expected_numbers(COUNT)
        sequences = [sequence for sequence, _ in read_events(platform, chat.run_id)]
        assert sequences == list(range(1, len(sequences) + 1))
        assert read_run(platform, chat.run_id)["answer"]["content"] == chat.text


def kill_and_wait(platform: RunningPlatform, name: str) -> None:
    """Kills a store and returns when it runs again."""
    [victim] = platform.processes(name)

    def is_back() -> bool:
        [now] = platform.processes(name)
        return bool(now["pid"] != victim["pid"] and now["state"] == "ready")

    platform.kill(victim)
    wait_until(f"{name} is back", is_back, patience_s=30)


@pytest.mark.timeout(120)
def test_postgres_that_is_killed_loses_no_run_and_accepts_none_falsely(platform: RunningPlatform) -> None:
    with traffic(platform) as going:
        kill_and_wait(platform, "postgres")
        back = time.monotonic()
        chats = going.finished()

    check_whole(platform, chats)
    going.visitor.check()
    for chat in chats:
        # What it had left may all have come before we saw that the store is back.
        assert min((moment for moment in chat.arrivals_s if moment > back), default=back) - back <= 15


@pytest.mark.timeout(120)
def test_valkey_that_is_killed_delays_nobody_for_long(platform: RunningPlatform) -> None:
    with traffic(platform) as going:
        [victim] = platform.processes("valkey")
        killed_at = time.monotonic()
        platform.kill(victim)
        chats = going.finished()

    check_whole(platform, chats)
    going.visitor.check()
    assert max(chat.longest_silence_s(killed_at) for chat in chats) < 5


@pytest.mark.timeout(120)
def test_connections_that_are_cut_at_random_fail_no_run(platform: RunningPlatform) -> None:
    with traffic(platform) as going, cutting(platform, a_second=5) as cuts:
        chats = going.finished()

    assert len(cuts) > 5
    check_whole(platform, chats)
    going.visitor.check()
    assert {read_run(platform, chat.run_id)["attempt"] for chat in chats} == {1}


@contextmanager
def cutting(platform: RunningPlatform, *, a_second: float) -> Iterator[list[Any]]:
    """Terminates random connections of the services beside what is inside; the list names whose."""
    stopping, cuts = threading.Event(), list[Any]()
    dice = random.Random(1)

    def cut(connection: psycopg.Connection) -> None:
        while not stopping.wait(1 / a_second):
            found = connection.execute(
                "SELECT pid, application_name FROM pg_stat_activity WHERE usename LIKE 'flotilla_%' ORDER BY pid"
            ).fetchall()
            pid, name = dice.choice(found)
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
            cuts.append(name)

    with platform.database() as connection:
        thread = threading.Thread(target=cut, args=[connection])
        thread.start()
        try:
            yield cuts
        finally:
            stopping.set()
            thread.join()
