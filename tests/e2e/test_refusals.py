"""What is wrong is refused before anything changes, in words that name the place and the way out."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.release import Release

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

_BAD_AGENT = "name: sales\ndescription: Sells.\npattern: react\nprompt: prompts/assistant.md\ntemprature: 0.3\n"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"services": {"gateway": {"replikas": 3}}}, ["replikas", "gateway"], id="unknown_key"),
        pytest.param({"services": {"gateway": {"replicas": "three"}}}, ["replicas", "integer"], id="wrong_type"),
        pytest.param({"secrets": {"identity": {"existingSecret": "not-there"}}}, ["not-there"], id="missing_secret"),
        pytest.param(
            {"rollout": {"colors": {"blue": {"image": {"tag": "not-there"}}}}, "preflight": {"timeoutSeconds": 25}},
            ["not-there"],
            id="bad_image",
        ),
        pytest.param({"agents": {"files": {"sales.yaml": _BAD_AGENT}}}, ["sales.yaml", "temprature"], id="bad_agent"),
    ],
)
def test_a_wrong_value_changes_nothing(release: Release, values: dict[str, Any], words: list[str]) -> None:
    before = release.state()

    outcome = release.upgrade(values)

    assert outcome.status != 0
    # Why an image does not come is known to the node alone.
    said = outcome.said + release.kubectl("get", "events", "--field-selector", "reason=Failed")
    assert all(word in said for word in words), said
    assert release.state() == before
