"""The run as its graph's nodes see it: model calls, tool calls and messages, all through the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flotilla_llm.model import ChatRequest, Usage

from flotilla_orchestrator.clients.tool import ToolInvocation, ToolResult
from flotilla_orchestrator.graphs.context import ModelReply, ModelTurn, Step
from flotilla_orchestrator.model import FinishReason, MessageDict, ModelUsage, RunOptions, ToolCallDict
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import RunJournal, Speaker
from flotilla_orchestrator.runs.event_log.past import LoggedMessage, LoggedPast
from flotilla_orchestrator.runs.event_log.usage import UsageLedger
from flotilla_orchestrator.runs.execution import identifiers
from flotilla_orchestrator.runs.execution.recall import Recalled
from flotilla_orchestrator.runs.execution.reply import RawReply, ReplyStreamer
from flotilla_orchestrator.runs.execution.stop import StopSignal
from flotilla_orchestrator.runs.execution.toolbox import Toolbox
from flotilla_orchestrator.runs.execution.wire_messages import conversation_to_wire


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known about a run before its graph begins."""

    run_id: UUID
    agent: str
    attempt: int
    options: RunOptions
    recalled: Recalled | None
    """None where memory is not asked."""
    tools: Sequence[Mapping[str, Any]]


class LiveRun:
    """Implements RunContext for one execution of a run."""

    def __init__(
        self,
        facts: RunFacts,
        *,
        journal: RunJournal,
        past: LoggedPast,
        replies: ReplyStreamer,
        toolbox: Toolbox,
        stop: StopSignal,
    ) -> None:
        self._facts = facts
        self._journal = journal
        self._past = past
        self._replies = replies
        self._toolbox = toolbox
        self._stop = stop
        self._caller_tools = frozenset(tool.name for tool in facts.options.caller_tools)
        self._last_call = _last_call_number(facts.run_id, past.messages.values())
        self._usage = UsageLedger(logged.usage for logged in past.messages.values())
        self.transcript: dict[str, MessageDict] = {id_: logged.message for id_, logged in past.messages.items()}
        """The run's messages in order, by id."""
        self.failed_tool_calls = 0
        self.finish_reasons = {id_: logged.finish_reason for id_, logged in past.messages.items()}
        """Why each reply ended, by message id."""

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self._facts.run_id

    @property
    def options(self) -> RunOptions:
        """What the caller asks of the model."""
        return self._facts.options

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """OpenAI's definitions of the permitted server-side tools."""
        return self._facts.tools

    @property
    def usage(self) -> Sequence[ModelUsage]:
        """What all model calls cost so far, one entry a model, earlier attempts' finished calls among them."""
        return self._usage.total

    def record_input(self, messages: Sequence[MessageDict]) -> None:
        """Writes input messages to the event log, once; no flush of their own, because they are nobody's news."""
        for message in messages:
            if message["id"] not in self.transcript:
                self.transcript[message["id"]] = message
                self._journal.add(events.message_finished(message))

    async def recall(self) -> str:
        """Waits for what long-term memory gives for the question."""
        recalled = self._facts.recalled
        if recalled is None:
            return ""
        # Several nodes may wait for it, and one of them may be stopped.
        return recalled.result() if recalled.done() else await asyncio.shield(recalled)

    async def call_model(self, step: Step, turn: ModelTurn) -> ModelReply:
        """Streams a reply into the event log and returns it whole; one that the log already holds is not made again."""
        message_id = identifiers.message_id(self.run_id, step)
        if logged := self._past.messages.get(message_id):
            return ModelReply(logged.message, logged.finish_reason)
        speaker = Speaker(message_id, step.node, step.namespace, turn.is_answer)
        raw = await self._replies.make(speaker, self._request(step, turn), turn.routes)
        return self._finish_reply(speaker, raw, name=turn.speaker)

    async def publish(self, step: Step, reply: ModelReply) -> MessageDict:
        """Sends a draft as the answer, once."""
        message_id = identifiers.message_id(self.run_id, step, part="answer")
        self._stop.check()
        if logged := self._past.messages.get(message_id):
            return logged.message
        message = MessageDict(**{**reply.message, "id": message_id})
        speaker = Speaker(message_id, step.node, step.namespace, is_answer=True)
        if message.get("content") and message_id not in self._past.streamed:
            self._journal.token(speaker, message["content"])
        self._add_message(message, speaker, finish_reason=reply.finish_reason)
        return message

    async def invoke_tools(self, step: Step, calls: MessageDict) -> list[MessageDict]:
        """Invokes a message's server-side calls in one batch; results that the log holds are not asked for again."""
        self._stop.check()
        numbered = [
            (index, call)
            for index, call in enumerate(calls.get("tool_calls", ()))
            if call["name"] not in self._caller_tools
        ]
        results = await self._invoke_missing(step, numbered)
        return [self._tool_message(step, call, results.get(call["id"])) for _, call in numbered]

    async def _invoke_missing(self, step: Step, calls: Iterable[tuple[int, ToolCallDict]]) -> Mapping[str, ToolResult]:
        missing: list[ToolInvocation] = []
        for index, call in calls:
            if identifiers.tool_message_id(self.run_id, call["id"]) in self._past.messages:
                continue
            if (call["id"], False) not in self._past.tools:
                self._journal.emit(events.tool_started(call))
            key = identifiers.idempotency_key(self.run_id, step, index)
            missing.append(ToolInvocation(call["id"], call["name"], call["args_json"], key))
        return await self._toolbox.invoke(missing) if missing else {}

    def _tool_message(self, step: Step, call: ToolCallDict, result: ToolResult | None) -> MessageDict:
        message_id = identifiers.tool_message_id(self.run_id, call["id"])
        if logged := self._past.messages.get(message_id):
            return logged.message
        result = result or ToolResult(call["id"], "The tool gave no result.", "no_result")
        if result.reason:
            self.failed_tool_calls += 1
        if (call["id"], True) not in self._past.tools:
            self._journal.emit(events.tool_ended(call, content=result.content, reason=result.reason))
        message = MessageDict(
            id=message_id, type="tool", content=result.content, tool_call_id=call["id"], name=call["name"]
        )
        self._add_message(message, Speaker(message_id, step.node, step.namespace, is_answer=False))
        return message

    def _request(self, step: Step, turn: ModelTurn) -> ChatRequest:
        """Returns the provider's request; the caller's options apply to what the caller reads."""
        common: dict[str, Any] = {
            "messages": conversation_to_wire(turn.messages),
            "tools": turn.tools,
            "metadata": {
                "run_id": str(self.run_id),
                "agent": self._facts.agent,
                "node": step.node,
                "step": str(step.number),
                "attempt": str(self._facts.attempt),
            },
        }
        if not (turn.is_answer or turn.is_draft):
            return ChatRequest(
                **common,
                response_format=turn.response_format,
                temperature=turn.temperature,
                max_output_tokens=turn.max_output_tokens,
            )
        options = self.options
        return ChatRequest(
            **common,
            response_format=options.response_format or turn.response_format,
            temperature=turn.temperature if options.temperature is None else options.temperature,
            top_p=options.top_p,
            max_output_tokens=_least(options.max_output_tokens, turn.max_output_tokens),
            stop=options.stop,
            seed=options.seed,
            tool_choice=options.tool_choice if turn.tools and not self._goes_on(turn.messages) else None,
            parallel_tool_calls=options.parallel_tool_calls if turn.tools else None,
        )

    def _goes_on(self, messages: Sequence[MessageDict]) -> bool:
        """Whether the last message is a result of this run's own call: a forced tool choice would then never end."""
        return messages[-1].get("tool_call_id", "").startswith(f"call_{self.run_id.hex}_")

    def _finish_reply(self, speaker: Speaker, raw: RawReply, *, name: str) -> ModelReply:
        message = MessageDict(id=speaker.message_id, type="ai", content=raw.text)
        if raw.calls:
            message["tool_calls"] = [self._mint(call.name, call.args_json) for _, call in sorted(raw.calls.items())]
        if name:
            message["name"] = name
        usage = _usage(raw.usage)
        self._usage.book(usage)
        self._add_message(message, speaker, usage=usage, finish_reason=raw.finish_reason)
        return ModelReply(message, raw.finish_reason)

    def _mint(self, name: str, args_json: str) -> ToolCallDict:
        self._last_call += 1
        call_id = identifiers.tool_call_id(self.run_id, self._last_call)
        return ToolCallDict(id=call_id, name=name, args_json=args_json or "{}")

    def _add_message(
        self,
        message: MessageDict,
        speaker: Speaker,
        *,
        usage: ModelUsage | None = None,
        finish_reason: FinishReason | None = None,
    ) -> None:
        self.transcript[message["id"]] = message
        if finish_reason is not None:
            self.finish_reasons[message["id"]] = finish_reason
        # It goes with what follows at once: the step's checkpoint, the first of its tools, or the run's end.
        self._journal.add(
            events.message_finished(
                message,
                node=speaker.node,
                namespace=speaker.namespace,
                is_answer=speaker.is_answer,
                usage=usage,
                finish_reason=finish_reason,
            )
        )


def _usage(usage: Usage | None) -> ModelUsage | None:
    if usage is None:
        return None
    return ModelUsage(usage.model, usage.input_tokens, usage.output_tokens, usage.cost_micro_usd)


def _least(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return min(known, default=None)


def _last_call_number(run_id: UUID, messages: Iterable[LoggedMessage]) -> int:
    calls = [call["id"] for logged in messages for call in logged.message.get("tool_calls", ())]
    return max(
        (identifiers.number_of_tool_call(id_) for id_ in calls if identifiers.run_of_tool_call(id_) == run_id),
        default=0,
    )
