"""Owners killed at random moments, many times: every stream whole, and how long its reader waited."""

from __future__ import annotations

import os
import random
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.interrupted_stream import (
    KillAfter,
    expected_numbers,
    numbers,
    read_events,
    read_run,
    stream_chat,
    wait_until,
)
from fakes.running_platform import RunningPlatform

KILLS = int(os.environ.get("FLOTILLA_CHAOS_KILLS", "30"))
SEED = int(os.environ.get("FLOTILLA_CHAOS_SEED", "1"))

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(60 * KILLS)]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[RunningPlatform]:
    """Starts two gateways and two orchestrators."""
    running = RunningPlatform.start(tmp_path / "home")
    try:
        yield running
    finally:
        running.stop()


def test_every_stream_is_whole_when_its_owner_is_killed(platform: RunningPlatform) -> None:
    dice = random.Random(SEED)

    silences_s = [_kill_once(platform, pieces=dice.randint(1, 70), gateway=kill % 2) for kill in range(KILLS)]

    p50_s, max_s = statistics.median(silences_s), max(silences_s)
    sys.stderr.write(f"\n{KILLS} kills, seconds to resume: p50 {p50_s:.2f}, max {max_s:.2f}\n")
    assert max_s <= 10


def _kill_once(platform: RunningPlatform, *, pieces: int, gateway: int) -> float:
    """Streams one answer, kills its owner after some pieces, and returns the longest silence in seconds."""
    wait_until("both orchestrators run", lambda: _are_ready(platform), patience_s=60)
    kill = KillAfter(platform, pieces)
    chat = stream_chat(platform, numbers(100), gateway=gateway, on_piece=kill)

    assert kill.killed_at
    assert chat.error is None
    assert chat.text.split() == expected_numbers(100)
    events = [sequence for sequence, _ in read_events(platform, chat.run_id)]
    assert events == list(range(1, len(events) + 1))
    run = read_run(platform, chat.run_id)
    assert run["attempt"] == 2
    assert run["answer"]["content"] == chat.text
    return chat.longest_silence_s(kill.killed_at)


def _are_ready(platform: RunningPlatform) -> bool:
    return all(row["state"] == "ready" for row in platform.processes("orchestrator"))
