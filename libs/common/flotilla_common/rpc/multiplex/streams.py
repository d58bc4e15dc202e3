"""The streams of calls that one channel has: a few for every server, and short-lived, so that the spread stays even."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from contextvars import Context

from grpc import StatusCode, aio

from flotilla_common.rpc.multiplex.stream import CallStream, Vouch

LIFE_S = 5.0
"""A stream takes calls this long, give or take a fifth: the balancer places the next one."""
MOST_LIVES = 4
"""The only stream to a server goes on this much longer if no other has come, so that the server is not left out."""
STREAMS_PER_SERVER = 2
MOST_STREAMS = 32
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
UNKNOWN_METHOD_WAIT_S = 30.0
"""How long calls go over plain gRPC after a server that knows no shared streams was met."""


class CallStreams:
    """Opens streams once calls come, and lets them go when none come any more.

    The channel's balancer decides which server a stream goes to. Among servers calls take turns, whatever the number of
    streams each has got; at one server they share the newest stream, so that batches are as large as can be.
    """

    def __init__(self, channel: aio.Channel, vouch: Vouch) -> None:
        self._channel = channel
        self._vouch = vouch
        self._by_server: defaultdict[str, list[CallStream]] = defaultdict(list)
        self._newest: list[CallStream] = []
        self._turn = 0
        self._picked_at = 0.0
        self._plain_until = 0.0
        self._keepers: set[asyncio.Task[None]] = set()
        self._running: dict[asyncio.Task[None], CallStream] = {}

    def pick(self) -> CallStream | None:
        """Returns a stream that takes a call now, or None: the call goes over plain gRPC then."""
        now = self._picked_at = time.monotonic()
        if not self._newest or now < self._plain_until:
            self._grow()
            return None
        self._turn += 1
        stream = self._newest[self._turn % len(self._newest)]
        return stream if stream.takes_calls else None

    async def close(self) -> None:
        """Ends all streams; calls that are open are cancelled."""
        for stream in self._running.values():
            stream.cancel_all()
        ending = [*self._keepers, *self._running]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    @property
    def _wanted(self) -> int:
        return min(STREAMS_PER_SERVER * (len(self._by_server) + 1), MOST_STREAMS)

    @property
    def _is_idle(self) -> bool:
        return time.monotonic() - self._picked_at > LIFE_S

    def _grow(self) -> None:
        while len(self._keepers) < self._wanted:
            # In a context of its own: a stream belongs to no request and no trace.
            task = asyncio.get_running_loop().create_task(self._keep_one(), context=Context())
            self._keepers.add(task)
            task.add_done_callback(self._keepers.discard)

    async def _keep_one(self) -> None:
        """Keeps one stream up, one after another, while calls come and no other keeper does it."""
        wait_s, life_s = _FIRST_WAIT_S, random.uniform(0.2, 1.0) * LIFE_S  # noqa: S311 - nobody is to guess it wrong
        while len(self._keepers) <= self._wanted and not self._is_idle:
            stream = CallStream(self._channel, self._vouch)
            try:
                server = await stream.server()
            except (aio.AioRpcError, TimeoutError) as exc:
                if isinstance(exc, aio.AioRpcError) and exc.code() is StatusCode.UNIMPLEMENTED:
                    # Streams would leave this server out, as in an upgrade: only the balancer spreads calls over all.
                    self._plain_until = time.monotonic() + UNKNOWN_METHOD_WAIT_S
                    wait_s = UNKNOWN_METHOD_WAIT_S / 2
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                continue
            if await self._live(stream, server, life_s):
                wait_s = _FIRST_WAIT_S
            else:
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            life_s = random.uniform(0.8, 1.2) * LIFE_S  # noqa: S311

    async def _live(self, stream: CallStream, server: str, life_s: float) -> bool:
        """Offers a stream for its life; returns False if it was cut short."""
        running = asyncio.create_task(stream.run(), name="run a stream of calls")
        self._running[running] = stream
        running.add_done_callback(self._running.pop)
        self._by_server[server].append(stream)
        self._choose()
        self._grow()
        try:
            for _ in range(MOST_LIVES):
                if await _happens(stream.is_unwelcome, within_s=life_s):
                    return False
                if len(self._by_server[server]) > 1 or self._is_idle:
                    break
            return True
        finally:
            self._by_server[server].remove(stream)
            self._choose()
            stream.retire()

    def _choose(self) -> None:
        for server in [server for server, streams in self._by_server.items() if not streams]:
            del self._by_server[server]
        self._newest = [streams[-1] for streams in self._by_server.values()]


async def _happens(event: asyncio.Event, *, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await event.wait()
    except TimeoutError:
        return False
