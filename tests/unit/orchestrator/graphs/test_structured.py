from __future__ import annotations

import pytest
from flotilla_common.errors import FailedPreconditionError
from flotilla_orchestrator.graphs.structured import read_label, read_object, read_valid

LABELS = ["billing", "technical", "other"]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ('{"label": "technical"}', "technical"),
        ('```json\n{"label": "Billing"}\n```', "billing"),
        ("technical", "technical"),
        ("I think it is billing.", "billing"),
        ("no idea", "other"),
        ("{broken", "other"),
        ('{"label": 7}', "other"),
    ],
)
def test_read_label_understands(reply: str, label: str) -> None:
    assert read_label(reply, LABELS) == label


@pytest.mark.parametrize("reply", ["", "none", "[1]", "{broken}", "}{"])
def test_read_object_is_empty_when_there_is_none(reply: str) -> None:
    assert read_object(reply) == {}


def test_read_valid_is_canonical() -> None:
    assert read_valid('Here: {"n": 1, "a": 2}', SCHEMA, step="s") == '{"a":2,"n":1}'


def test_read_valid_refuses_what_does_not_fit() -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        read_valid('{"n": "one"}', SCHEMA, step="extract")

    assert caught.value.reason == "step_output_invalid"
    assert "extract" in caught.value.message
