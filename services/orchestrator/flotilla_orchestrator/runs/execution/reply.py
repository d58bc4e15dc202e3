"""Makes one reply of a model: streams it into the journal and goes on where an earlier try was cut."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from flotilla_common.errors import DeadlineExceededError, FlotillaError, UnavailableError
from flotilla_llm.client import ModelClient
from flotilla_llm.model import ChatReply, ChatRequest, StreamPart, TextDelta, ToolCallDelta, Usage

from flotilla_orchestrator.model import FinishReason
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import RunJournal, Speaker
from flotilla_orchestrator.runs.event_log.past import LoggedPast
from flotilla_orchestrator.runs.event_log.replay import Fresh, ReplyComparison
from flotilla_orchestrator.runs.execution.stop import StopSignal
from flotilla_orchestrator.runs.metrics import RunMetrics

_log = logging.getLogger(__name__)

_RETRIES = 2
"""How often a stream that broke after its first token is begun again."""
_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


@dataclass(slots=True)
class RawCall:
    """A tool call as its pieces come together."""

    name: str = ""
    args_json: str = ""


@dataclass(slots=True)
class RawReply:
    """A reply as its parts come together."""

    texts: list[str] = field(default_factory=list)
    calls: dict[int, RawCall] = field(default_factory=dict)
    finish_reason: FinishReason = FinishReason.STOP
    usage: Usage | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything came."""
        return bool(self.texts or self.calls)

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(self.texts)

    def add_call(self, delta: ToolCallDelta) -> None:
        """Adds a piece of a tool call."""
        call = self.calls.setdefault(delta.index, RawCall())
        call.name += delta.name
        call.args_json += delta.arguments


class ReplyStreamer:
    """Streams replies of one run into its journal."""

    def __init__(
        self,
        models: ModelClient,
        journal: RunJournal,
        *,
        past: LoggedPast,
        stop: StopSignal,
        metrics: RunMetrics,
        omits_tokens: bool = False,
    ) -> None:
        """Takes `omits_tokens`: replies are asked for whole, and none of their text is logged as tokens."""
        self._models = models
        self._journal = journal
        self._past = past
        self._stop = stop
        self._metrics = metrics
        self._omits_tokens = omits_tokens
        self._reply_attempt = past.reply_attempt

    async def make(self, speaker: Speaker, request: ChatRequest, routes: Sequence[str]) -> RawReply:
        """Returns a whole reply, whose text the log then holds exactly once.

        Raises the model layer's errors once a stream that breaks in its middle was retried.
        """
        if self._omits_tokens:
            self._stop.check()
            return _whole(await self._models.complete(request, routes=routes))
        streamed = [self._past.streamed.pop(speaker.message_id, "")]
        for retry in range(_RETRIES + 1):
            self._stop.check()
            reply = RawReply()
            try:
                await self._stream(speaker, request, routes, reply=reply, streamed=streamed)
            except (UnavailableError, DeadlineExceededError) as error:
                if not reply.has_begun or retry == _RETRIES:
                    raise
                self._note_retry(error)
            else:
                return reply
        raise AssertionError("the last retry returns or raises")

    async def _stream(
        self,
        speaker: Speaker,
        request: ChatRequest,
        routes: Sequence[str],
        *,
        reply: RawReply,
        streamed: list[str],
    ) -> None:
        """Adds one stream's parts to the reply; `streamed` keeps what the log holds, also when the stream breaks."""
        comparison = ReplyComparison("".join(streamed))
        stream = cast("AsyncGenerator[StreamPart, None]", self._models.stream(request, routes=routes))
        async with aclosing(stream) as parts:
            async for part in parts:
                if isinstance(part, TextDelta):
                    reply.texts.append(part.text)
                    self._send(speaker, comparison.take(part.text), streamed)
                elif isinstance(part, ToolCallDelta):
                    reply.add_call(part)
                else:
                    reply.finish_reason = _FINISH_REASONS.get(part.finish_reason, FinishReason.STOP)
                    reply.usage = part.usage
        self._send(speaker, comparison.end(), streamed)

    def _send(self, speaker: Speaker, fresh: Fresh, streamed: list[str]) -> None:
        if fresh.restarted:
            self._reply_attempt += 1
            self._metrics.reply_restarts.inc()
            self._journal.emit(events.reply_restarted(attempt=self._reply_attempt, message_ids=[speaker.message_id]))
            streamed.clear()
        if fresh.text:
            streamed.append(fresh.text)
            self._journal.token(speaker, fresh.text)

    def _note_retry(self, error: FlotillaError) -> None:
        self._metrics.model_retries.inc()
        _log.warning("a model's stream broke and is begun again", extra={"reason": error.reason})


def _whole(reply: ChatReply) -> RawReply:
    calls = {index: RawCall(call.name, call.arguments) for index, call in enumerate(reply.tool_calls)}
    finish_reason = _FINISH_REASONS.get(reply.finish_reason, FinishReason.STOP)
    return RawReply([reply.content], calls, finish_reason, reply.usage)
