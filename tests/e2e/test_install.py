"""The chart on a namespace that enforces `restricted`: installed, used, upgraded to the same."""

from __future__ import annotations

import pytest

from e2e.command import must
from e2e.edge import Edge, chat_body, counted, counting
from e2e.release import NAME, NAMESPACE, Release

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def test_chat_through_the_ingress_is_answered(edge: Edge) -> None:
    reply = edge.post("/v1/chat/completions", chat_body(counting(20), stream=False))

    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"].split() == counted(20)


def test_helm_test_is_green(release: Release) -> None:
    must(release.node.helm("test", NAME, "--namespace", NAMESPACE))
