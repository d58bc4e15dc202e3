"""What the event log tells about a run's earlier attempts, so that a take-over repeats and loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flotilla.orchestrator.v1 import event_pb2 as pb

from flotilla_orchestrator.model import FinishReason, MessageDict, ModelUsage, StoredEvent
from flotilla_orchestrator.runs.event_log.codec import message_from_proto, usage_from_proto
from flotilla_orchestrator.runs.event_log.usage import UsageLedger


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A finished message as the log has it."""

    message: MessageDict
    is_answer: bool
    usage: ModelUsage | None
    finish_reason: FinishReason


@dataclass(slots=True)
class LoggedPast:
    """The log of earlier attempts, by what a repeated step would write again."""

    messages: dict[str, LoggedMessage] = field(default_factory=dict)
    """Finished messages by id, in the order of the log."""
    streamed: dict[str, str] = field(default_factory=dict)
    """Text of replies that were not finished, by message id."""
    tools: set[tuple[str, bool]] = field(default_factory=set)
    """Tool calls that began (False) and ended (True)."""
    states: set[str] = field(default_factory=set)
    """Checkpoints that were announced."""
    reply_attempt: int = 1
    """The attempt of the last restarted reply."""

    @property
    def usage(self) -> Sequence[ModelUsage]:
        """What the finished messages cost."""
        return UsageLedger(logged.usage for logged in self.messages.values()).total

    @classmethod
    def of(cls, events: Iterable[StoredEvent]) -> LoggedPast:
        """Reads a run's log, from its first event."""
        past = cls()
        for event in events:
            past._add(pb.RunEvent.FromString(event.payload))
        return past

    def _add(self, event: pb.RunEvent) -> None:
        match event.WhichOneof("event"):
            case "token":
                self.streamed[event.token.message_id] = self.streamed.get(event.token.message_id, "") + event.token.text
            case "message":
                self._add_message(event.message)
            case "reply_restarted":
                self.reply_attempt = event.reply_restarted.attempt
                for message_id in event.reply_restarted.message_ids:
                    self.streamed.pop(message_id, None)
            case "tool":
                self.tools.add((event.tool.tool_call_id, event.tool.phase != pb.TOOL_PHASE_STARTED))
            case "state":
                self.states.add(event.state.checkpoint_id)

    def _add_message(self, finished: pb.MessageFinished) -> None:
        message = message_from_proto(finished.message)
        self.streamed.pop(message["id"], None)
        self.messages[message["id"]] = LoggedMessage(
            message=message,
            is_answer=finished.is_answer,
            usage=usage_from_proto(finished.usage) if finished.HasField("usage") else None,
            finish_reason=FinishReason(finished.finish_reason or FinishReason.STOP),
        )
