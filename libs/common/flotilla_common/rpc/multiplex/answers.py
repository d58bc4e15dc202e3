"""What a server says on a stream of calls."""

from __future__ import annotations

from typing import Any

from flotilla.common.v1.call_service_pb2 import CallAnswer, CallEnd, ConnectResponse, Goodbye, ServerFrame
from grpc import StatusCode

from flotilla_common.rpc.call import Context
from flotilla_common.rpc.multiplex.bounds import LARGEST_PIECE, Metadata, pack_metadata
from flotilla_common.rpc.multiplex.outbox import Outbox


class Answers:
    """Answers and ends of calls, written in the order in which they are given."""

    def __init__(self, context: Context) -> None:
        async def write(frames: list[ServerFrame]) -> None:
            await context.write(ConnectResponse(frames=frames))

        self._outbox = Outbox(write)

    async def run(self) -> None:
        """Writes until closed; raises what writing raises."""
        await self._outbox.run()

    async def room(self) -> None:
        """Waits while the caller is slow to read."""
        if self._outbox.is_full:
            await self._outbox.room()

    def close(self) -> None:
        """Lets `run` end once everything is written."""
        self._outbox.close()

    async def answer(self, call_id: int, data: bytes) -> None:
        """Sends an answer, in pieces if it is large; waits while the caller is slow to read."""
        for start in range(0, len(data) or 1, LARGEST_PIECE):
            await self.room()
            piece = data[start : start + LARGEST_PIECE]
            answer = CallAnswer(piece=piece, has_more=start + LARGEST_PIECE < len(data))
            self._outbox.put(ServerFrame(call_id=call_id, answer=answer), len(piece))

    async def answer_and_end(self, call_id: int, data: bytes) -> None:
        """Sends the one answer of a call that went well."""
        if len(data) > LARGEST_PIECE or self._outbox.is_full:
            await self.answer(call_id, data)
            self.end(call_id, StatusCode.OK)
        else:
            self._outbox.put(ServerFrame(call_id=call_id, end=CallEnd(answer=data)), len(data))

    def end(self, call_id: int, code: Any, message: str = "", trailing: Metadata = ()) -> None:
        """Ends a call with a status; its code may be a number, as methods may set it."""
        number = code.value[0] if isinstance(code, StatusCode) else int(code or 0)
        end = CallEnd(code=number, message=message, trailing_metadata=pack_metadata(trailing))
        if end.ByteSize() > LARGEST_PIECE:
            # As gRPC does with a status that is larger than headers may be.
            end = CallEnd(code=StatusCode.RESOURCE_EXHAUSTED.value[0], message="the status is too large")
        self._outbox.put(ServerFrame(call_id=call_id, end=end), end.ByteSize())

    def say_goodbye(self) -> None:
        """Asks the caller to open no more calls here."""
        self._outbox.put(ServerFrame(goodbye=Goodbye()), 0)
