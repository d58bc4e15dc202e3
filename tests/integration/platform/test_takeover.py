"""Owners and gateways that die while an answer streams."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
from fakes.interrupted_stream import (
    KillAfter,
    expected_numbers,
    numbers,
    read_events,
    read_events_with_patience,
    read_run,
    stream_chat,
    wait_until,
)
from fakes.running_platform import RunningPlatform


@pytest.fixture(autouse=True)
def everything_is_up(platform: RunningPlatform) -> None:
    """Waits until what an earlier test killed is back."""

    def ready() -> bool:
        rows = [row for name in ("orchestrator", "gateway") for row in platform.processes(name)]
        return all(row["state"] == "ready" for row in rows)

    wait_until("all replicas run", ready, patience_s=40)


@pytest.mark.parametrize("pieces", [1, 25])
def test_stream_goes_on_when_the_owner_is_killed(platform: RunningPlatform, pieces: int) -> None:
    kill = KillAfter(platform, pieces)

    chat = stream_chat(platform, numbers(100), on_piece=kill)

    assert chat.error is None
    assert not chat.was_cut
    assert chat.text.split() == expected_numbers(100)
    assert chat.longest_silence_s(kill.killed_at) < 10
    sequences = [sequence for sequence, _ in read_events(platform, chat.run_id)]
    assert sequences == list(range(1, len(sequences) + 1))
    assert read_run(platform, chat.run_id)["answer"]["content"] == chat.text


def test_reply_that_differs_after_takeover_is_never_mixed(platform: RunningPlatform) -> None:
    question = "[[dev: tokens=100 delay_ms=20 salt=random]] Tell me a story."

    chat = stream_chat(platform, question, on_piece=KillAfter(platform, 20))

    assert chat.error is not None
    assert chat.error["code"] == "reply_restarted"
    wait_until("the run is done", lambda: read_run(platform, chat.run_id)["status"] == "succeeded", patience_s=30)
    whole = read_run(platform, chat.run_id)["answer"]["content"]
    assert whole
    assert not whole.startswith(chat.text)


def test_reader_gets_the_rest_on_another_gateway_when_its_own_is_killed(platform: RunningPlatform) -> None:
    gateway = platform.processes("gateway")[0]
    once = threading.Event()

    def kill_gateway(_: object) -> None:
        if not once.is_set():
            once.set()
            platform.kill(gateway)

    chat = stream_chat(platform, numbers(100), on_piece=kill_gateway)
    events = list(read_events(platform, chat.run_id, gateway=1))

    assert chat.was_cut
    assert [sequence for sequence, _ in events] == list(range(1, len(events) + 1))
    assert read_run(platform, chat.run_id, gateway=1)["answer"]["content"].split() == expected_numbers(100)


def test_owner_that_was_frozen_writes_nothing_when_it_wakes(platform: RunningPlatform) -> None:
    orchestrators = platform.processes("orchestrator")
    frozen: list[dict[str, Any]] = []

    def freeze(_: object) -> None:
        if not frozen:
            frozen.append(platform.owner_among(orchestrators))
            platform.kill(frozen[0], signal.SIGSTOP)

    try:
        chat = stream_chat(platform, numbers(100), on_piece=freeze)
        silence_s = chat.longest_silence_s(chat.arrivals_s[0])
        before = read_events_with_patience(platform, chat.run_id, patience_s=60)
    finally:
        platform.kill(frozen[0], signal.SIGCONT)

    assert chat.text.split() == expected_numbers(100)
    assert silence_s < 20
    wait_until(
        "the frozen owner is back and owns nothing",
        lambda: platform.metric(frozen[0], "flotilla_runs_active") == 0,
        patience_s=20,
    )
    assert list(read_events(platform, chat.run_id)) == before
