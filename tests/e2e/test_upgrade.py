"""A new image and a new prompt by `helm upgrade`, and back by `helm rollback`, while clients chat and stream."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from e2e import figures
from e2e.command import must
from e2e.edge import Edge, chat_body, counting
from e2e.evidence import FOLDER
from e2e.load import running_load
from e2e.release import CHART, Release

ROUNDS = int(os.environ.get("FLOTILLA_E2E_ROUNDS", "2"))

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300 * ROUNDS + 600)]


def test_upgrade_and_rollback_lose_no_answer(release: Release, edge: Edge) -> None:
    prompt = (CHART / "agents/prompts/assistant.md").read_text()
    second = {"agents": {"files": {"prompts/assistant.md": f"{prompt}\n- Be brief.\n"}}}
    first_release = _release_of_an_answer(edge)

    for round_ in range(1, ROUNDS + 1):
        with running_load(edge) as load:
            time.sleep(5)
            began = time.monotonic()
            must(release.upgrade(second, version=release.images.second))
            # helm is content when the new pods are ready, some seconds before the old ones are told to go.
            release.wait_until_rolled_out()
            upgraded = time.monotonic()
            assert {_tag(pod) for pod in release.pods()} == {release.images.second}
            second_release = _release_of_an_answer(edge)
            time.sleep(5)
            rolled_back = time.monotonic()
            release.rollback()
            release.wait_until_rolled_out()
            back = time.monotonic()
            time.sleep(5)
        release.wait_until_settled()
        load.ledger.check_events(edge)
        load.ledger.read_runs(edge)
        load.ledger.write(_file(f"upgrade-{round_}"))
        times = {"upgrade, seconds": round(upgraded - began, 1), "rollback, seconds": round(back - rolled_back, 1)}
        figures.note(f"upgrade and rollback under load, round {round_}", times | load.ledger.figures())

        assert load.ledger.failures == {}
        assert second_release != first_release
        for entry in load.ledger.entries:
            assert entry.release in (first_release, second_release)
            if upgraded < entry.began_s < rolled_back:
                assert entry.release == second_release
            if entry.began_s > back or entry.began_s < began:
                assert entry.release == first_release


def _release_of_an_answer(edge: Edge) -> str:
    reply = edge.post("/v1/chat/completions", chat_body(counting(3), stream=False)).raise_for_status()
    return str(edge.run(reply.headers["X-Run-Id"])["release"])


def _tag(pod: dict[str, object]) -> str:
    spec = pod["spec"]
    assert isinstance(spec, dict)
    return str(spec["containers"][0]["image"]).rpartition(":")[2]


def _file(name: str) -> Path:
    return FOLDER / f"{name}.jsonl"
