"""The clock: the right time in every zone, and help with their names."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from flotilla_tool.model import Caller, ToolArguments
from flotilla_tool.tools.clock import Clock
from flotilla_tool.tools.tool import Invocation, ToolError

ANYBODY = Invocation(Caller(uuid4(), uuid4(), uuid4()), "k")
CLOCK = Clock(now=lambda: datetime(2025, 7, 1, 22, 30, 15, tzinfo=UTC))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "2025-07-01T22:30:15+00:00 (Tuesday, UTC, UTC)"),
        ({"time_zone": ""}, "2025-07-01T22:30:15+00:00 (Tuesday, UTC, UTC)"),
        ({"time_zone": "Europe/Zurich"}, "2025-07-02T00:30:15+02:00 (Wednesday, Europe/Zurich, CEST)"),
        ({"time_zone": "america/new york"}, "2025-07-01T18:30:15-04:00 (Tuesday, America/New_York, EDT)"),
        ({"time_zone": "Asia/Kolkata"}, "2025-07-02T04:00:15+05:30 (Wednesday, Asia/Kolkata, IST)"),
    ],
)
async def test_clock_tells_the_time(arguments: ToolArguments, expected: str) -> None:
    assert await CLOCK.invoke(arguments, ANYBODY) == expected


@pytest.mark.parametrize(
    ("asked", "suggested"),
    [
        ("Zurich", "Europe/Zurich"),
        ("New York", "America/New_York"),
        ("Europe/Zürich", "Europe/Zurich"),
        ("Tokio", "Asia/Tokyo"),
        ("Europa/Berlin", "Europe/Berlin"),
    ],
)
async def test_clock_suggests_near_names(asked: str, suggested: str) -> None:
    with pytest.raises(ToolError) as caught:
        await CLOCK.invoke({"time_zone": asked}, ANYBODY)

    assert caught.value.reason == "unknown_time_zone"
    assert suggested in caught.value.message


@pytest.mark.parametrize("asked", ["../../etc/passwd", "/etc/localtime", "Nowhere/Atall", "\x00", "x" * 64])
async def test_clock_opens_no_file_it_is_told_to(asked: str) -> None:
    with pytest.raises(ToolError):
        await CLOCK.invoke({"time_zone": asked}, ANYBODY)
