"""Logs as services do: `python -m benchmarks.parts.line_writer grouped|single FILE`."""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import time
from pathlib import Path
from uuid import uuid4

import uvloop
from flotilla_common.identity import Identity
from flotilla_common.logs import configure_logs
from flotilla_common.request import acting_as
from flotilla_common.settings import ProcessSettings

from benchmarks.parts.worker import answer, questions

GROUPED = "grouped"
MESSAGE = "request served"
_PAUSE_S = 0.002
_LINES_AT_ONCE = 4
"""Between two pauses, as when answers leave together; the loop's turns are part of what a line costs here."""
_FIELDS = {"method": "POST", "path": "/v1/chat/completions", "status": 200, "duration_ms": 12.5}
_log = logging.getLogger("flotilla.benchmark")


async def write(how: str, file: Path) -> None:
    """Logs for a while for each question: from which number on, for how many seconds."""
    with file.open("w") as stream, acting_as(Identity(uuid4(), uuid4(), scopes=frozenset({"chat"}))):
        configure_logs(ProcessSettings(log_format="json", replica="benchmark"), "benchmark", stream)
        (handler,) = logging.getLogger().handlers
        if how != GROUPED:
            single = logging.StreamHandler(stream)
            single.setFormatter(handler.formatter)
            single.filters = handler.filters
            logging.getLogger().handlers[:] = [handler := single]
        async for first, seconds in questions():
            cpu_s = time.process_time()
            took_s = await _log_for(int(first), float(seconds))
            handler.flush()
            cpu_s = time.process_time() - cpu_s
            answer({
                "lines": len(took_s),
                "wait_us": 1e6 * statistics.median(took_s),
                "cpu_us": 1e6 * cpu_s / len(took_s),
            })  # fmt: skip


async def _log_for(first: int, seconds: float) -> list[float]:
    """Returns how long each line held up who logged it."""
    took_s: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for _ in range(_LINES_AT_ONCE):
            began = time.perf_counter()
            _log.info(MESSAGE, extra={**_FIELDS, "number": first + len(took_s)})
            took_s.append(time.perf_counter() - began)
        await asyncio.sleep(_PAUSE_S)
    return took_s


def main() -> None:
    """Writes until its standard input is closed."""
    uvloop.run(write(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    main()
