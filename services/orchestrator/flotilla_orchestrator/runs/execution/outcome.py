"""What a run leaves behind: its answer, and the entries for memory and the evaluator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flotilla.evaluator.v1 import evaluator_service_pb2 as evaluator
from flotilla.memory.v1 import memory_service_pb2 as memory

from flotilla_orchestrator.graphs.catalogue import Release
from flotilla_orchestrator.model import FinishReason, MessageDict, ModelUsage, OutboxEntry, OutboxKind, OwnedRun
from flotilla_orchestrator.runs.event_log.codec import message_to_proto, usage_to_proto

_SHARES = 1 << 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets."""

    message: MessageDict
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished run as memory and the evaluator are told of it."""

    run: OwnedRun
    release: Release
    is_stateless: bool
    answer: Answer
    state: Sequence[MessageDict]
    """The thread's messages."""
    transcript: Sequence[MessageDict]
    """The run's own messages."""
    usage: Sequence[ModelUsage]
    duration_s: float
    failed_tool_calls: int


def answer_of(
    messages: Sequence[MessageDict], *, caller_tools: Iterable[str], finish_reasons: dict[str, FinishReason]
) -> Answer:
    """Returns the assistant's last message since the person spoke; of its tool calls the caller sees only their own."""
    last = next((message for message in reversed(messages) if message["type"] in ("ai", "human")), None)
    if last is None or last["type"] == "human":
        return Answer(MessageDict(id="", type="ai", content=""), FinishReason.STOP)
    mine = frozenset(caller_tools)
    answer = last.copy()
    calls = [call for call in answer.pop("tool_calls", []) if call["name"] in mine]
    if calls:
        answer["tool_calls"] = calls
        return Answer(answer, FinishReason.TOOL_CALLS)
    reason = finish_reasons.get(last.get("id", ""), FinishReason.STOP)
    return Answer(answer, FinishReason.STOP if reason is FinishReason.TOOL_CALLS else reason)


def outbox_of(turn: Turn) -> list[OutboxEntry]:
    """Returns what is to be sent after the run's transaction."""
    entries = []
    if turn.release.commits_turns and turn.run.remembers and turn.answer.finish_reason is not FinishReason.TOOL_CALLS:
        entries.append(OutboxEntry(OutboxKind.COMMIT_TURN, _commit_turn(turn).SerializeToString()))
    if is_sampled(turn.run.run_id, turn.release.observe_ratio):
        entries.append(OutboxEntry(OutboxKind.OBSERVE, _observe(turn).SerializeToString()))
    return entries


def is_sampled(run_id: UUID, ratio: float) -> bool:
    """Whether a run is among a share of all runs; the same run always is or is not, whoever asks."""
    # The last bits of a UUID version 7 are random, the first are its time.
    return run_id.int % _SHARES < ratio * _SHARES


def said_in_turn(messages: Sequence[MessageDict]) -> list[MessageDict]:
    """Returns what the person said since the last whole answer, in order."""
    said: list[MessageDict] = []
    has_answer = False
    for message in reversed(messages):
        if message["type"] == "human":
            said.append(message)
        elif message["type"] == "ai" and not message.get("tool_calls"):
            # The first one from the end is the answer itself; inner speakers' messages stand right before it.
            if has_answer and said:
                break
            has_answer = True
    return said[::-1]


def _commit_turn(turn: Turn) -> memory.CommitTurnRequest:
    request = memory.CommitTurnRequest(
        run_id=str(turn.run.run_id),
        thread_id="" if turn.is_stateless else str(turn.run.thread_id),
        messages=[message_to_proto(message) for message in [*said_in_turn(turn.state), turn.answer.message]],
        agent=turn.run.agent,
    )
    request.finish_time.FromDatetime(datetime.now(UTC))
    return request


def _observe(turn: Turn) -> evaluator.ObserveRequest:
    observation = evaluator.Observation(
        run_id=str(turn.run.run_id),
        agent=turn.run.agent,
        release=turn.run.release,
        messages=[message_to_proto(message) for message in turn.transcript],
        usage=usage_to_proto(turn.usage),
        failed_tool_calls=turn.failed_tool_calls,
    )
    observation.duration.FromTimedelta(timedelta(seconds=turn.duration_s))
    observation.finish_time.FromDatetime(datetime.now(UTC))
    return evaluator.ObserveRequest(observation=observation)
