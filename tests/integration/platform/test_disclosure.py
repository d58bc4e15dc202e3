"""What must never be written down: keys, passwords and what people said, looked for in every log of a platform."""

from __future__ import annotations

import json
from uuid import uuid4

import httpx
from fakes.interrupted_stream import wait_until
from fakes.running_platform import RunningPlatform
from openai import APIStatusError, OpenAI


def test_logs_hold_neither_secrets_nor_what_people_said(client: OpenAI, platform: RunningPlatform) -> None:
    canary = f"canary{uuid4().hex}"

    _say(client, canary)
    _fail(client, platform, canary)

    secrets = {file.name: file.read_text().strip() for file in (platform.home / "secrets").iterdir()}
    forbidden = {**secrets, "developer": platform.api_key, "admin": platform.admin_key, "canary": canary}
    logs = {file.name: file.read_text(errors="replace") for file in (platform.home / "logs").glob("*-*")}
    assert len(logs) >= 9
    found = [(name, log) for name, secret in forbidden.items() for log, text in logs.items() if secret in text]
    assert found == []


def test_metrics_hold_no_ids_of_people_or_runs(client: OpenAI, platform: RunningPlatform) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="assistant", messages=[{"role": "user", "content": "Hello"}], user="somebody"
    )
    ids = {raw.headers["x-run-id"], raw.headers["x-thread-id"]}

    for service in ("gateway", "orchestrator", "memory", "tool", "evaluator"):
        for process in platform.processes(service):
            text = platform.metrics_text(process)
            assert not any(id_ in text for id_ in ids), service


def _say(client: OpenAI, canary: str) -> None:
    """Says the canary where it travels farthest: tools, memory, an agent of several steps, embeddings."""
    questions = [
        ("assistant", f"My favourite colour is {canary}."),
        ("assistant", f"What is 17 % of {canary}?"),
        ("assistant", f"Remember that my word is {canary}."),
        ("support", f"My order {canary} has not arrived."),
        ("research", f"Write about {canary}."),
    ]
    for agent, text in questions:
        client.chat.completions.create(model=agent, messages=[{"role": "user", "content": text}], user=canary)
    client.embeddings.create(model="embedding", input=canary)
    wait_until(
        "the turns are remembered",
        lambda: canary in json.dumps(client.get("/memories", cast_to=object, options={"params": {"user": canary}})),
        patience_s=30,
    )


def _fail(client: OpenAI, platform: RunningPlatform, canary: str) -> None:
    """Fails in every way that leaves a trace in logs, with the canary in what failed."""
    for fault in ("500", "429", "bad_json:2", "cut_after:2", "bad_tool_json"):
        question = f"[[dev: fault={fault}]] What is 17 % of 2,349 and {canary}?"
        with OpenAI(base_url=f"{platform.url()}/v1", api_key=platform.api_key, max_retries=0) as impatient:
            try:
                impatient.chat.completions.create(model="assistant", messages=[{"role": "user", "content": question}])
            except APIStatusError as error:
                assert canary not in error.message  # noqa: PT017  # a failure of either kind is allowed, a leak is not
    bad = httpx.post(
        f"{platform.url()}/v1/chat/completions",
        content=json.dumps({"model": canary, "messages": canary}),
        headers={"Authorization": f"Bearer {canary}"},
    )
    assert bad.status_code == 401
    wait_until(
        "the last call is in the logs",
        lambda: any(
            bad.headers["x-request-id"] in log.read_text(errors="replace")
            for log in (platform.home / "logs").glob("gateway-*")
        ),
        patience_s=10,
    )
