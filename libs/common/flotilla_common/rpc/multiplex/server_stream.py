"""The server's end of streams of calls: each call is served in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import grpc
from flotilla.common.v1.call_service_pb2 import CallerFrame, CallOpening, ConnectRequest, ConnectResponse
from google.protobuf.message import DecodeError
from grpc import StatusCode, aio

from flotilla_common.errors import InvalidArgumentError, UnauthenticatedError, UnavailableError
from flotilla_common.identity import Identity, IdentityVerifier, SealedCall, ServerSession
from flotilla_common.ids import new_id
from flotilla_common.rpc.call import Context
from flotilla_common.rpc.failure import INTERNAL_MESSAGE
from flotilla_common.rpc.multiplex.answers import Answers
from flotilla_common.rpc.multiplex.bounds import (
    MOST_SERVED_CALLS,
    SERVER_KEY,
    SESSION_ANSWER_KEY,
    SESSION_KEY,
    Metadata,
)
from flotilla_common.rpc.multiplex.served_stream_call import Find, Handler, ServedStreamCall

_log = logging.getLogger(__name__)


class ServedStreams:
    """All streams of calls that one server has."""

    def __init__(self, verifier: IdentityVerifier) -> None:
        self._verifier = verifier
        self._id = str(new_id())
        self._streams: set[ServedStream] = set()
        self._is_taking = True

    def handler(self, find: Find) -> Handler:
        """Returns the method that serves a stream; `find` names the method that serves a path over plain gRPC."""
        serve: Any = partial(self._connect, find)
        return grpc.stream_stream_rpc_method_handler(
            serve, ConnectRequest.FromString, ConnectResponse.SerializeToString
        )

    def set_taking(self, is_taking: bool) -> None:
        """Lets callers open calls on their streams, or asks them to open no more."""
        self._is_taking = is_taking
        if not is_taking:
            for stream in self._streams:
                stream.say_goodbye()

    async def _connect(self, find: Find, _: Any, context: Context) -> None:
        session = self._begin_session(context)
        said: Metadata = ((SERVER_KEY, self._id),)
        await context.send_initial_metadata((*said, (SESSION_ANSWER_KEY, session.answer)) if session else said)
        stream = ServedStream(find, context, session)
        self._streams.add(stream)
        if not self._is_taking:
            stream.say_goodbye()
        try:
            await stream.run()
        except InvalidArgumentError as exc:
            await context.abort(StatusCode.INVALID_ARGUMENT, exc.message)
        finally:
            self._streams.discard(stream)

    def _begin_session(self, context: Context) -> ServerSession | None:
        """Returns this end of the session that a caller asks for; none with one that is not trusted."""
        token = dict(context.invocation_metadata() or ()).get(SESSION_KEY)
        if not isinstance(token, str):
            return None
        try:
            return self._verifier.begin_session(token)
        except UnauthenticatedError as exc:
            # Its calls name their identities by tokens then, and each is judged by its own.
            cause = type(exc.__cause__).__name__
            _log.info("a session was refused", extra={"peer": context.peer(), "cause": cause})
            return None


class ServedStream:
    """One stream of calls, from its first frame to its last."""

    def __init__(self, find: Find, context: Context, session: ServerSession | None) -> None:
        self._find = find
        self._session = session
        self._context = context
        self._answers = Answers(context)
        self._calls: dict[int, ServedStreamCall] = {}
        self._last_id = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.say_goodbye = self._answers.say_goodbye

    async def run(self) -> None:
        """Serves until the caller has closed its side and every call has ended. Raises InvalidArgumentError."""
        writing = asyncio.create_task(self._answers.run(), name="write answers")
        try:
            await self._read()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._answers.close()
            await writing
        finally:
            for call in self._calls.values():
                call.cancel()
            writing.cancel()
            await asyncio.gather(*self._tasks, writing, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            # Who does not read what we say is not listened to either.
            await self._answers.room()
            try:
                batch: Any = await self._context.read()
            except DecodeError as exc:
                raise InvalidArgumentError("The batch cannot be read.", field="frames") from exc
            if batch is aio.EOF:
                return
            for frame in batch.frames:
                self._hear(frame)

    def _hear(self, frame: CallerFrame) -> None:
        kind, call_id = frame.WhichOneof("kind"), frame.call_id
        if kind == "opening":
            self._open(call_id, frame.opening)
        elif kind == "cancellation":
            call = self._calls.get(call_id)
            # A call that is not there any more has ended: its end is on its way.
            if call is not None:
                call.cancel()
        else:
            raise InvalidArgumentError("A frame says nothing.", field="frames.kind")

    def _open(self, call_id: int, opening: CallOpening) -> None:
        if call_id <= self._last_id:
            # A seal proves who a call is for; that nobody repeats it is proven here.
            raise InvalidArgumentError("A call's id is greater than all before it.", field="frames.call_id")
        self._last_id = call_id
        if len(self._calls) >= MOST_SERVED_CALLS:
            self._answers.end(call_id, StatusCode.UNAVAILABLE, "too many calls on one stream")
            return
        call = ServedStreamCall(call_id, opening, self._answers, self._context, self._open_seal)
        self._calls[call_id] = call
        task = call.start(self._find)
        self._tasks.add(task)
        task.add_done_callback(partial(self._forget, call_id))

    def _open_seal(self, seal: bytes, call: SealedCall) -> Identity:
        """Returns whom a call is for. Raises UnauthenticatedError, and UnavailableError once the session is over."""
        if self._session is None:
            raise UnauthenticatedError("the stream has no session", reason="identity_invalid")
        try:
            return self._session.open(seal, call)
        except UnavailableError:
            # What comes later is to come on a new stream.
            self.say_goodbye()
            raise

    def _forget(self, call_id: int, task: asyncio.Task[None]) -> None:
        del self._calls[call_id]
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # A method turns what it raises into a status; this is what surrounds it.
            _log.error("a call on a shared stream failed unexpectedly", exc_info=error)
            self._answers.end(call_id, StatusCode.INTERNAL, INTERNAL_MESSAGE)
