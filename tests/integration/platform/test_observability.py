"""One chat as the person on call sees it: one trace id in the logs of all services, and numbers from each of them."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fakes.interrupted_stream import wait_until
from fakes.running_platform import RunningPlatform
from openai import OpenAI

SERVICES = ["gateway", "orchestrator", "memory", "tool", "evaluator"]


def test_one_trace_id_is_in_the_logs_of_all_services_for_a_streamed_chat(
    client: OpenAI, platform: RunningPlatform
) -> None:
    trace_id = uuid4().hex
    stream = client.chat.completions.create(
        model="support",
        messages=[{"role": "user", "content": "What is 17 % of 2,349?"}],
        stream=True,
        user="somebody",
        extra_headers={"traceparent": f"00-{trace_id}-{trace_id[:16]}-01"},
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    assert "399.33" in text
    wait_until(
        f"trace {trace_id} in the logs of all services",
        lambda: all(_logs_hold(platform, service, trace_id) for service in SERVICES),
        patience_s=30,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_metrics_of_its_own(platform: RunningPlatform, service: str) -> None:
    processes = platform.processes(service)

    texts = [platform.metrics_text(process) for process in processes]

    assert all("\nflotilla_" in text for text in texts)


@pytest.mark.parametrize("service", SERVICES)
def test_every_process_that_serves_shows_that_it_is_ready(platform: RunningPlatform, service: str) -> None:
    processes = platform.processes(service)

    texts = [platform.metrics_text(process) for process in processes]

    assert texts
    assert all("\nflotilla_ready 1.0\n" in text for text in texts)


def _logs_hold(platform: RunningPlatform, service: str, trace_id: str) -> bool:
    logs = list((platform.home / "logs").glob(f"{service}-*"))
    return any(f'"trace_id":"{trace_id}"' in log.read_text() for log in logs)
