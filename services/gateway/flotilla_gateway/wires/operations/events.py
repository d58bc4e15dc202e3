"""`GET /v1/runs/{run_id}/events`: a run's event log as server-sent events, from any sequence number on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from urllib.parse import parse_qs

import orjson
from flotilla.orchestrator.v1.event_pb2 import RunEvent
from flotilla.orchestrator.v1.run_pb2 import RUN_STATUS_QUEUED, RUN_STATUS_RUNNING
from flotilla_common.errors import FlotillaError, InvalidArgumentError
from starlette.types import Receive, Scope, Send

from flotilla_gateway import model
from flotilla_gateway.clients.orchestrator import Orchestrator
from flotilla_gateway.runs.follow import Patience, RunFollower
from flotilla_gateway.wires.door import Door, header
from flotilla_gateway.wires.gone import finished_before_gone
from flotilla_gateway.wires.operations.runs import known_form
from flotilla_gateway.wires.operations.shapes import event_object
from flotilla_gateway.wires.reply import error_body, send_nothing
from flotilla_gateway.wires.sse import RETRY, EventStream

_MOST = 2**31 - 1
_GOING_ON = (RUN_STATUS_QUEUED, RUN_STATUS_RUNNING)


class RunEvents:
    """Replays a run's events and goes on live. Who stops watching stops nothing."""

    def __init__(self, door: Door, orchestrator: Orchestrator, patience: Patience) -> None:
        self._door = door
        self._orchestrator = orchestrator
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        caller = await self._door.admit(scope, model.Scope.CHAT)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        caller.serve_as(query.get("user", [None])[0])
        run_id = known_form(scope["path_params"]["run_id"])
        after = _after(header(scope, b"last-event-id"), query.get("after", ["0"])[0])
        # What is not there answers 404, which a stream that has begun cannot say any more.
        is_over = (await self._orchestrator.get_run(run_id)).status not in _GOING_ON
        follower = RunFollower(self._orchestrator, self._patience)
        follower.watch(run_id, after_sequence=after, is_over=is_over)
        await finished_before_gone(_reply(send, scope["path"], follower, is_over=is_over), receive)


async def _reply(send: Send, path: str, follower: RunFollower, *, is_over: bool) -> None:
    """Answers 204 when nothing is left and nothing will come: to an EventSource it means not to come back."""
    try:
        async with aclosing(follower.events()) as log:
            first = (await anext(log, None) if is_over else None) or ()
            if is_over and not first:
                await send_nothing(send)
            else:
                await _stream(send, path, first, log)
    finally:
        await follower.close()


async def _stream(
    send: Send, path: str, first: Sequence[RunEvent], following: AsyncIterator[Sequence[RunEvent]]
) -> None:
    stream = EventStream(send)
    try:
        await stream.open(RETRY + b"\n" + _frames(first))
        try:
            async for events in following:
                await stream.write(_frames(events))
        except FlotillaError as error:
            await stream.write(b"event: error\ndata: " + error_body(path, error) + b"\n\n")
        await stream.close()
    finally:
        stream.stop()


def _frames(events: Sequence[RunEvent]) -> bytes:
    return b"".join(
        b"id: %d\nevent: %s\ndata: %s\n\n"
        % (event.sequence, (event.WhichOneof("event") or "unknown").encode(), orjson.dumps(event_object(event)))
        for event in events
    )


def _after(last_event_id: str | None, asked: str) -> int:
    """Returns the last sequence number the client has; -1 means none, as LangGraph's clients say it."""
    name, value = ("Last-Event-ID", last_event_id) if last_event_id is not None else ("after", asked)
    try:
        number = int(value)
    except ValueError:
        number = -2
    if not -1 <= number <= _MOST:
        raise InvalidArgumentError(f"{name} is the number of an event.", reason="invalid_value", field=name)
    return max(number, 0)
