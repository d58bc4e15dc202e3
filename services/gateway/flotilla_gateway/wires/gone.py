"""Noticing that a client is gone while its reply is being made."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive


async def finished_before_gone(reply: Coroutine[object, object, None], receive: Receive) -> bool:
    """Makes a reply; returns False, with the reply cancelled, when the client went away or stopped reading first.

    The request's body must have been received before.
    """
    making = asyncio.create_task(reply)
    going = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((making, going), return_when=asyncio.FIRST_COMPLETED)
    finally:
        going.cancel()
        was_made = making.done() and not making.cancelled()
        making.cancel()
        await asyncio.wait((making, going))
    if was_made or not making.cancelled():
        making.result()
        return True
    return False


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
