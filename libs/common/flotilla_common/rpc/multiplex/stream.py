"""A caller's end of a stream of calls."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from flotilla.common.v1.call_service_pb2 import (
    CallCancellation,
    CallerFrame,
    CallOpening,
    ConnectRequest,
    ConnectResponse,
    ServerFrame,
)
from grpc import aio

from flotilla_common.identity import CallerSession, Identity, SealedCall
from flotilla_common.rpc.multiplex.bounds import (
    CONNECT,
    MOST_CALLS,
    SEAL_KEY,
    SERVER_KEY,
    SESSION_ANSWER_KEY,
    SESSION_KEY,
    Metadata,
    pack_metadata,
)
from flotilla_common.rpc.multiplex.call import StreamedCall
from flotilla_common.rpc.multiplex.outbox import Outbox

OPEN_TIMEOUT_S = 5.0


class Vouch(Protocol):
    """How a stream says for whom its calls are."""

    def begin_session(self) -> CallerSession | None:
        """Returns a session for calls on one stream; none where nobody is vouched for."""

    def signed(self, metadata: Metadata, identity: Identity | None) -> Metadata:
        """Returns metadata with a token that names the identity."""


class CallStream:
    """One stream, from its opening until its last call has ended."""

    def __init__(self, channel: aio.Channel, vouch: Vouch) -> None:
        connect: Any = channel.stream_stream(CONNECT, ConnectRequest.SerializeToString, ConnectResponse.FromString)
        self._vouch = vouch
        self._session = vouch.begin_session()
        self._rpc: Any = connect(metadata=((SESSION_KEY, self._session.token),) if self._session else ())
        self._outbox: Outbox[CallerFrame] = Outbox(self._write)
        self._calls: dict[int, StreamedCall] = {}
        self._last_id = 0
        self._is_retired = False
        self.is_unwelcome = asyncio.Event()
        """Set when no new calls may be opened: the server said goodbye, or the stream is gone."""

    async def server(self) -> str:
        """Waits until the stream is up and returns the server's id. Raises AioRpcError or TimeoutError."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                said = dict(await self._rpc.initial_metadata() or ())
                if SERVER_KEY in said:
                    self._agree(said.get(SESSION_ANSWER_KEY))
                    return str(said[SERVER_KEY])
                # It ended before it was up; its status says why.
                await self._rpc.read()
        except BaseException:
            self._rpc.cancel()
            raise
        self._rpc.cancel()
        raise TimeoutError("the server does not say who it is")

    @property
    def takes_calls(self) -> bool:
        """True while another call may be opened here."""
        return len(self._calls) < MOST_CALLS and not self._outbox.is_full and not self.is_unwelcome.is_set()

    def open(self, call: StreamedCall, opening: CallOpening, metadata: Metadata, identity: Identity | None) -> int:
        """Opens a call for an identity, adds its metadata, and returns its id on this stream."""
        call_id = self._last_id = self._last_id + 1
        self._calls[call_id] = call
        if identity is not None:
            metadata = self._vouched(metadata, identity, SealedCall(call_id, opening.method, opening.request))
        opening.metadata.extend(pack_metadata(metadata))
        self._outbox.put(CallerFrame(call_id=call_id, opening=opening), len(opening.request))
        return call_id

    def cancel(self, call_id: int) -> None:
        """Gives a call up: nothing more is heard of it."""
        if self._calls.pop(call_id, None) is not None:
            self._outbox.put(CallerFrame(call_id=call_id, cancellation=CallCancellation()), 0)
            self._close_if_spent()

    def cancel_all(self) -> None:
        """Gives every call up."""
        for call in list(self._calls.values()):
            call.cancel()

    def retire(self) -> None:
        """Takes no new calls and closes once those that are open have ended."""
        self._is_retired = True
        self._close_if_spent()

    async def run(self) -> None:
        """Reads and writes until the stream has ended; calls that are open then have broken."""
        writing = asyncio.create_task(self._write_all(), name="write calls")
        try:
            while (batch := await self._rpc.read()) is not aio.EOF:
                for frame in batch.frames:
                    self._hear(frame)
        except aio.AioRpcError:
            """Its calls are told below, and what follows on this stream finds out by itself."""
        finally:
            self.is_unwelcome.set()
            self._rpc.cancel()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            self._break()

    def _agree(self, answer: str | bytes | None) -> None:
        # A server that knows no sessions, or does not trust ours, answers none and is told by tokens.
        if self._session is not None and isinstance(answer, bytes):
            self._session.agree(answer)

    def _vouched(self, metadata: Metadata, identity: Identity, call: SealedCall) -> Metadata:
        if self._session is None or not self._session.can_seal:
            return self._vouch.signed(metadata, identity)
        return (*metadata, (SEAL_KEY, self._session.seal(identity, call)))

    def _hear(self, frame: ServerFrame) -> None:
        kind = frame.WhichOneof("kind")
        if kind == "end":
            call = self._calls.pop(frame.call_id, None)
            if call is not None:
                call.hear_end(frame.end)
                self._close_if_spent()
        elif kind == "answer":
            call = self._calls.get(frame.call_id)
            # One that was given up meanwhile is not there any more.
            if call is not None:
                call.hear_answer(frame.answer)
        elif kind == "goodbye":
            self.is_unwelcome.set()

    def _break(self) -> None:
        broken = list(self._calls.values())
        self._calls.clear()
        for call in broken:
            call.hear_break()

    def _close_if_spent(self) -> None:
        if self._is_retired and not self._calls:
            self._outbox.close()

    async def _write_all(self) -> None:
        await self._outbox.run()
        await self._rpc.done_writing()

    async def _write(self, frames: list[CallerFrame]) -> None:
        await self._rpc.write(ConnectRequest(frames=frames))
