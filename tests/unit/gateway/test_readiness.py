"""What the gateway knows of its own readiness when it is not asked."""

from __future__ import annotations

import time
from unittest.mock import patch

from flotilla_gateway.wires.operations.status import Readiness


class Dependency:
    """Is there or away, and counts who asks."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.is_away:
            raise ConnectionError


async def test_it_is_not_ready_before_its_dependencies_answered() -> None:
    readiness = Readiness({"database": Dependency()}, {}, is_draining=lambda: False)

    before = readiness.is_ready
    await readiness.report()

    assert (before, readiness.is_ready) == (False, True)


async def test_it_follows_the_last_report_and_asks_nobody_itself() -> None:
    database, redis = Dependency(), Dependency()
    readiness = Readiness({"database": database}, {"redis": redis}, is_draining=lambda: False)

    seen = []
    for database.is_away, redis.is_away in [(False, True), (True, False), (False, False)]:
        await readiness.report()
        seen += [readiness.is_ready, readiness.is_ready]

    assert seen == [True, True, False, False, True, True]
    assert database.asked == 3


async def test_it_is_not_ready_while_it_drains() -> None:
    draining = [False]
    readiness = Readiness({}, {}, is_draining=lambda: draining[0])
    await readiness.report()

    before, draining[0] = readiness.is_ready, True

    assert (before, readiness.is_ready) == (True, False)


async def test_it_believes_no_old_report() -> None:
    readiness = Readiness({}, {}, is_draining=lambda: False)
    await readiness.report()
    now = time.monotonic()

    believed = []
    for age_s in (5, 11):
        with patch("flotilla_gateway.wires.operations.status.time.monotonic", return_value=now + age_s):
            believed.append(readiness.is_ready)

    assert believed == [True, False]
