"""What belongs to somebody else is not there: every path with an id in it, as the published description lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fakes.interrupted_stream import wait_until
from fakes.running_platform import RunningPlatform

ASK = "My favourite colour is teal."


@dataclass(frozen=True)
class Neighbours:
    """Two users of one tenant; the first has a run, a thread and a memory."""

    owner: httpx.Client
    stranger: httpx.Client
    admin: httpx.Client
    owned: dict[str, str]
    """An id of the owner's for each name of a path's parameter."""
    thread_id: str


@pytest.fixture(scope="module")
def neighbours(platform: RunningPlatform) -> Iterator[Neighbours]:
    with (
        _client(platform, platform.admin_key) as admin,
        _client(platform, _new_key(admin)) as owner,
        _client(platform, _new_key(admin)) as stranger,
    ):
        reply = _chat(owner, metadata={"thread_id": str(uuid4())})
        wait_until("the turn is remembered", lambda: bool(_memories(owner)), patience_s=30)
        owned = {
            "run_id": reply.headers["x-run-id"],
            "memory_id": _memories(owner)[0]["id"],
            "key_id": str(uuid4()),
            "model": "nobody",
        }
        yield Neighbours(owner, stranger, admin, owned, reply.headers["x-thread-id"])


def test_every_path_with_an_id_answers_a_stranger_404(neighbours: Neighbours) -> None:
    document = neighbours.stranger.get("/openapi.json").json()
    asked = 0
    for template, operations in document["paths"].items():
        if "{" not in template:
            continue
        path = re.sub(r"\{(\w+)\}", lambda found: neighbours.owned[found[1]], template)
        # Keys belong to administrators; to them one that is not theirs is unknown.
        client = neighbours.admin if template.startswith("/v1/keys") else neighbours.stranger
        for method in operations:
            reply = client.request(method.upper(), path)
            asked += 1
            assert reply.status_code == 404, f"{method} {template}: {reply.status_code} {reply.text}"

    assert asked >= 5


def test_owner_still_has_everything_that_strangers_asked_for(neighbours: Neighbours) -> None:
    assert neighbours.owner.get(f"/v1/runs/{neighbours.owned['run_id']}").json()["status"] == "succeeded"
    assert neighbours.owned["memory_id"] in [memory["id"] for memory in _memories(neighbours.owner)]


def test_stranger_sees_nothing_in_lists(neighbours: Neighbours) -> None:
    assert _memories(neighbours.stranger) == []


@pytest.mark.parametrize("where", ["metadata", "header"])
def test_strangers_thread_is_not_found(neighbours: Neighbours, where: str) -> None:
    thread_id = neighbours.thread_id
    body: dict[str, Any] = {"metadata": {"thread_id": thread_id}} if where == "metadata" else {}
    headers = {"X-Thread-Id": thread_id} if where == "header" else {}

    reply = _chat(neighbours.stranger, headers=headers, **body)

    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "thread_not_found")


def _client(platform: RunningPlatform, key: str) -> httpx.Client:
    return httpx.Client(base_url=platform.url(), headers={"Authorization": f"Bearer {key}"}, timeout=30)


def _new_key(admin: httpx.Client) -> str:
    reply = admin.post("/v1/keys", json={"name": "neighbour", "scopes": ["chat", "embeddings"]})
    reply.raise_for_status()
    return str(reply.json()["key"])


def _chat(client: httpx.Client, *, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
    body = {"model": "assistant", "messages": [{"role": "user", "content": ASK}], **changes}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def _memories(client: httpx.Client) -> list[dict[str, Any]]:
    reply = client.get("/v1/memories")
    reply.raise_for_status()
    found: list[dict[str, Any]] = reply.json()["data"]
    return found
