"""Runs that are cancelled while the orchestrator that owns them is dead or frozen."""

from __future__ import annotations

import signal
from typing import Any

import httpx
import pytest
from fakes.interrupted_stream import StreamedChat, numbers, stream_chat, wait_until
from fakes.running_platform import RunningPlatform

CANCELLED = 5
"""The column's number."""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_cancel_ends_the_run_of_an_owner_that_cannot(platform: RunningPlatform, how: signal.Signals) -> None:
    def ready() -> bool:
        return all(row["state"] == "ready" for row in platform.processes("orchestrator"))

    wait_until("both orchestrators run", ready, patience_s=40)
    orchestrators = platform.processes("orchestrator")
    hit: list[dict[str, Any]] = []

    def hit_and_cancel(chat: StreamedChat) -> None:
        if not hit:
            hit.append(platform.owner_among(orchestrators))
            platform.kill(hit[0], how)
            # So that it is not the end of its lease that ends the run.
            connection.execute("UPDATE orchestrator.leases SET expires_at = now() + interval '1 hour'")
            wait_until("the cancel is acknowledged", lambda: cancel(platform, chat.run_id), patience_s=30)

    with platform.database() as connection:
        try:
            chat = stream_chat(platform, numbers(400, delay_ms=40), on_piece=hit_and_cancel)
        finally:
            if how is signal.SIGSTOP and hit:
                platform.kill(hit[0], signal.SIGCONT)
        row = connection.execute(
            "SELECT status, finished_at - cancel_at < interval '3 s' FROM orchestrator.runs WHERE run_id = %s",
            [chat.run_id],
        ).fetchone()

    assert row == (CANCELLED, True)


def cancel(platform: RunningPlatform, run_id: str) -> bool:
    """Asks for a cancel; a frozen orchestrator may let the question time out."""
    headers = {"Authorization": f"Bearer {platform.api_key}"}
    reply = httpx.post(f"{platform.url(1)}/v1/runs/{run_id}/cancel", headers=headers, timeout=30)
    assert reply.status_code in (200, 202, 503, 504), reply.text
    return reply.is_success
