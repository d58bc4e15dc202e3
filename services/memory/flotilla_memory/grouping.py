"""Work that is cheaper together: what comes in while earlier work is under way goes as one group, without a timer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_Waiting: TypeAlias = tuple[Item, asyncio.Future[Result]]


class Grouping(Generic[Item, Result]):
    """Serves items in groups; a group that fails is repeated item by item, so that one bad item harms no neighbour.

    serve: returns one result for each item, in order.
    at_once: how many groups may be under way. The fewer, the larger they are under load; alone, nobody waits.
    is_common: whether a failure is everybody's, such as an outage, so that repeating each would only add to it.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        at_once: int,
        largest: int,
        is_common: Callable[[Exception], bool],
    ) -> None:
        self._serve = serve
        self._at_once = at_once
        self._largest = largest
        self._is_common = is_common
        self._waiting: list[_Waiting[Item, Result]] = []
        self._servers: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """Returns the item's result; whoever stops waiting takes nothing from the others."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._servers) < self._at_once:
            server = asyncio.create_task(self._serve_waiting())
            self._servers.add(server)
            server.add_done_callback(self._servers.discard)
        return await future

    async def _serve_waiting(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            await self._serve_group([(item, future) for item, future in group if not future.done()])

    async def _serve_group(self, group: list[_Waiting[Item, Result]]) -> None:
        if not group:
            return
        serving: asyncio.Future[Sequence[Result]] = asyncio.ensure_future(self._serve([item for item, _ in group]))  # noqa: RUF006 - it is awaited below
        for _, future in group:
            future.add_done_callback(partial(_stop_when_alone, serving, [future for _, future in group]))
        try:
            results = await serving
        except asyncio.CancelledError:
            if all(future.done() for _, future in group):
                return
            raise
        except Exception as error:  # noqa: BLE001 - it is handed to those who wait
            await self._fail(group, error)
            return
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _fail(self, group: list[_Waiting[Item, Result]], error: Exception) -> None:
        if len(group) > 1 and not self._is_common(error):
            for waiting in group:
                await self._serve_group([waiting])
            return
        for _, future in group:
            if not future.done():
                future.set_exception(error)


def _stop_when_alone(
    serving: asyncio.Future[Any], waiting: Sequence[asyncio.Future[Any]], _: asyncio.Future[Any]
) -> None:
    """Ends work for which nobody waits any more, such as a call that hangs, so that its place is free."""
    if all(future.done() for future in waiting):
        serving.cancel()
