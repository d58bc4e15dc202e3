"""A tool service killed at every point of a call: what is not idempotent has at most one effect, ever."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from fakes.servers import ServiceDatabase

POINTS = ("before intent", "after intent", "before effect", "after effect", "before result", "after result")


@pytest.fixture(scope="module")
def tool_database(database: Callable[[str], ServiceDatabase]) -> ServiceDatabase:
    return database("tool")


def invoke(url: str, effects: Path, caller: str, *, idempotent: bool, dies_at: str) -> str:
    """Runs the call in a process of its own; returns its outcome, or "killed"."""
    script = Path(__file__).with_name("dying_bank.py")
    command = [sys.executable, str(script), url, str(effects), "yes" if idempotent else "no", dies_at, caller]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == -9:
        return "killed"
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def attempts(database: ServiceDatabase, effects: Path, *, idempotent: bool, dies_at: str) -> list[str]:
    """Makes one call: once dying, then twice by healthy processes."""
    caller = json.dumps({"tenant": str(uuid4()), "user": str(uuid4()), "run": str(uuid4())})
    return [
        invoke(database.url, effects, caller, idempotent=idempotent, dies_at=point)
        for point in (dies_at, "never", "never")
    ]


@pytest.mark.parametrize("dies_at", POINTS)
def test_effect_happens_at_most_once(tool_database: ServiceDatabase, tmp_path: Path, dies_at: str) -> None:
    effects = tmp_path / "effects"
    effects.touch()

    outcomes = attempts(tool_database, effects, idempotent=False, dies_at=dies_at)

    lines = effects.read_text().splitlines()
    if dies_at in ("before intent", "after result"):
        assert outcomes == ["killed", "SUCCEEDED", "SUCCEEDED"]
        assert lines == ["k"]
    else:
        assert outcomes == ["killed", "UNKNOWN", "UNKNOWN"]
        assert len(lines) == (1 if dies_at in ("after effect", "before result") else 0)


@pytest.mark.parametrize("dies_at", POINTS)
def test_idempotent_tool_is_invoked_again_with_the_same_key(
    tool_database: ServiceDatabase, tmp_path: Path, dies_at: str
) -> None:
    effects = tmp_path / "effects"
    effects.touch()

    outcomes = attempts(tool_database, effects, idempotent=True, dies_at=dies_at)

    assert outcomes == ["killed", "SUCCEEDED", "SUCCEEDED"]
    assert set(effects.read_text().splitlines()) == {"k"}
