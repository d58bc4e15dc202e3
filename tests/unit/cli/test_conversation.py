"""Reading a run's events."""

import pytest
from flotilla_cli.conversation import parse_events
from flotilla_cli.failure import CommandError


def test_events_are_read_frame_by_frame() -> None:
    lines = [
        "retry: 1000", "", ": ping", "",
        "id: 1", "event: accepted", 'data: {"sequence": 1, "type": "accepted"}', "",
        "id: 2", "event: token", 'data: {"sequence": 2, "type": "token", "text": "a: b"}', "",
    ]  # fmt: skip

    assert list(parse_events(lines)) == [
        {"sequence": 1, "type": "accepted"},
        {"sequence": 2, "type": "token", "text": "a: b"},
    ]


def test_half_an_event_is_none() -> None:
    assert list(parse_events(["event: token", 'data: {"type": "token"}'])) == []


def test_an_error_of_the_gateway_is_raised() -> None:
    lines = ["event: error", 'data: {"error": {"message": "the database is away"}}', ""]

    with pytest.raises(CommandError, match="the database is away"):
        list(parse_events(lines))
