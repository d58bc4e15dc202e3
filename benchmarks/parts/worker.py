"""A process that does what it is asked by lines on its standard input, and ends when nobody can ask any more."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping

import orjson


async def questions() -> AsyncIterator[list[str]]:
    """Yields the words of each question until whoever asks is gone."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().split()


def answer(value: int | Mapping[str, float]) -> None:
    """Answers a question."""
    print(orjson.dumps(value).decode(), flush=True)
