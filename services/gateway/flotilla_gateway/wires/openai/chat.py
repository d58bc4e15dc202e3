"""`POST /v1/chat/completions` on raw ASGI: the busiest path there is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from flotilla.orchestrator.v1.event_pb2 import RunAccepted, RunDone, RunEvent
from flotilla.orchestrator.v1.orchestrator_service_pb2 import StartRunRequest
from flotilla_common.errors import FlotillaError, InvalidArgumentError, NotFoundError
from starlette.types import Receive, Scope, Send

from flotilla_gateway import model
from flotilla_gateway.clients.orchestrator import Orchestrator
from flotilla_gateway.runs.cancel import Canceller
from flotilla_gateway.runs.follow import Patience, RunFollower, ends_the_log
from flotilla_gateway.wires.door import Caller, Door, header
from flotilla_gateway.wires.gone import finished_before_gone
from flotilla_gateway.wires.openai.errors import RunEndedError, model_not_found
from flotilla_gateway.wires.openai.parse import parse_json, refuse_unsupported, validated
from flotilla_gateway.wires.openai.schema import ChatCompletionRequest
from flotilla_gateway.wires.openai.stream import (
    ChatChunks,
    completion_id,
    finish_reason,
    interruption,
    tool_call,
    usage,
)
from flotilla_gateway.wires.openai.translate import as_stateless, start_run_request
from flotilla_gateway.wires.reply import send_json
from flotilla_gateway.wires.sse import EventStream

_LONGEST_KEY = 255
# Read within 2 ms. A larger one would hold up the limiter's own answer, for everybody, and cost who is over the limit.
_MOST_READ_MEANWHILE_BYTES = 16_000
_NO_SUCH_MODEL = ("agent_not_found", "release_not_found")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request asks for."""

    chat: ChatCompletionRequest
    request: StartRunRequest
    ends_with_client: bool


class ChatCompletions:
    """Answers a chat by a run: starts it, follows it, and cancels it when its client is gone."""

    def __init__(self, door: Door, orchestrator: Orchestrator, canceller: Canceller, patience: Patience) -> None:
        self._door = door
        self._orchestrator = orchestrator
        self._canceller = canceller
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        asked = await self._asked(scope, (await receive())["body"])
        follower = RunFollower(self._orchestrator, self._patience)
        try:
            is_whole = await finished_before_gone(self._reply(scope, send, asked, follower), receive)
        finally:
            # No part of the reply, which is cut as soon as the client is gone, as every client is that has its answer.
            await follower.close()
        if asked.ends_with_client and not is_whole and not follower.is_settled:
            self._canceller.cancel(follower.run_id)

    async def _asked(self, scope: Scope, body: bytes) -> _Asked:
        if len(body) > _MOST_READ_MEANWHILE_BYTES:
            return _read(scope, body, await self._door.admit(scope, model.Scope.CHAT))
        async with self._door.admitting(scope, model.Scope.CHAT) as caller:
            return _read(scope, body, caller)

    async def _reply(self, scope: Scope, send: Send, asked: _Asked, follower: RunFollower) -> None:
        chat = asked.chat
        accepted = await self._accepted(chat, asked.request, follower)
        scope["state"]["run_id"] = accepted.run_id
        scope["state"]["reply_headers"] += [
            (b"x-thread-id", accepted.thread_id.encode()),
            (b"x-run-id", accepted.run_id.encode()),
        ]
        if chat.stream:
            await _stream(send, chat, accepted, follower)
        else:
            body = await _whole(chat, accepted, follower)
            follower.is_settled = True
            await send_json(send, body)

    async def _accepted(
        self, chat: ChatCompletionRequest, request: StartRunRequest, follower: RunFollower
    ) -> RunAccepted:
        try:
            return await follower.accept(request)
        except NotFoundError as error:
            if error.reason in _NO_SUCH_MODEL:
                raise model_not_found(chat.model) from None
            # The thread that held the open tool call is gone after a day; the caller may have brought its history.
            again = as_stateless(request, chat) if request.thread.answered_tool_call_id else None
            if again is None:
                raise
            return await follower.accept(again)


def _read(scope: Scope, body: bytes, caller: Caller) -> _Asked:
    """Returns what a caller asks for, and makes the request act for them. Raises InvalidArgumentError."""
    parsed = parse_json(body)
    refuse_unsupported(parsed)
    chat = validated(ChatCompletionRequest, parsed)
    key = _idempotency_key(scope)
    user_id = caller.serve_as(chat.user, idempotency_key=key).user_id
    request = start_run_request(chat, parsed, user_id=user_id, thread_header=header(scope, b"x-thread-id"))
    return _Asked(chat, request, _ends_with_client(chat, has_key=key is not None))


async def _stream(send: Send, chat: ChatCompletionRequest, accepted: RunAccepted, follower: RunFollower) -> None:
    include_usage = chat.stream_options is not None and bool(chat.stream_options.include_usage)
    chunks = ChatChunks(
        run_id=accepted.run_id, created=accepted.create_time.seconds, model=chat.model, include_usage=include_usage
    )
    stream = EventStream(send)
    try:
        await stream.open(chunks.opening())
        try:
            async with aclosing(follower.events()) as log:
                async for events in log:
                    frames = chunks.feed(events)
                    if frames:
                        await stream.write(frames)
                    if chunks.is_ended and not ends_the_log(events[-1]):
                        break
        except FlotillaError as error:
            await stream.write(chunks.error(RunEndedError(error)))
        follower.is_settled = True
        await stream.close()
    finally:
        stream.stop()


async def _whole(chat: ChatCompletionRequest, accepted: RunAccepted, follower: RunFollower) -> bytes:
    """Returns the reply's body once the run is done; a reply that is begun anew is nobody's business yet."""
    try:
        async with aclosing(follower.events()) as log:
            async for events in log:
                last = _last_word(events)
    except RunEndedError:
        raise
    except FlotillaError as error:
        raise RunEndedError(error) from error
    return orjson.dumps(_completion(chat, accepted, last))


def _last_word(events: Sequence[RunEvent]) -> RunDone:
    """Returns the last event as the end of the run, which it is in the last batch. Raises what ended it otherwise."""
    nothing_shown: set[str] = set()
    for event in events:
        if (error := interruption(event, nothing_shown)) is not None:
            raise error
    return events[-1].done


def _completion(chat: ChatCompletionRequest, accepted: RunAccepted, done: RunDone) -> dict[str, Any]:
    calls = [tool_call(call) for call in done.answer.tool_calls]
    message: dict[str, Any] = {"role": "assistant", "content": done.answer.content or (None if calls else "")}
    if calls:
        message["tool_calls"] = calls
    return {
        "id": completion_id(accepted.run_id),
        "object": "chat.completion",
        "created": accepted.create_time.seconds,
        "model": chat.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(done)}],
        "usage": usage(done.usage),
    }


def _idempotency_key(scope: Scope) -> str | None:
    key = header(scope, b"idempotency-key")
    if key is not None and not (1 <= len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        raise InvalidArgumentError(
            f"An idempotency key has 1 to {_LONGEST_KEY} printable characters.", field="Idempotency-Key"
        )
    return key


def _ends_with_client(chat: ChatCompletionRequest, *, has_key: bool) -> bool:
    """Whether the run ends with its client. Who gives an idempotency key means to come back for the answer."""
    wish = (chat.metadata or {}).get("on_disconnect")
    if wish not in (None, "cancel", "continue"):
        raise InvalidArgumentError("on_disconnect is cancel or continue.", field="metadata.on_disconnect")
    return wish == "cancel" or (wish is None and not has_key)
