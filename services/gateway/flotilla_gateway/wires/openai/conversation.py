"""A caller's messages as a run's input: which are new, whom tool messages answer, and which thread it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1.orchestrator_service_pb2 import RunThread
from flotilla_common.errors import InvalidArgumentError

from flotilla_gateway.wires.openai.schema import ChatMessage

_ROLES = {
    "user": common.MESSAGE_ROLE_HUMAN,
    "assistant": common.MESSAGE_ROLE_ASSISTANT,
    "tool": common.MESSAGE_ROLE_TOOL,
}
_INSTRUCTING = ("system", "developer")
_MINTED_CALL_ID = re.compile(r"call_[0-9a-f]{32}_\d+")
_LONGEST_THREAD_NAME = 256


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request says, taken apart."""

    instructions: str
    """The system and developer messages' text."""
    messages: Sequence[common.Message]
    """All others, in order."""
    new: Sequence[common.Message]
    """Those after the last assistant message."""

    @property
    def answered_call_id(self) -> str | None:
        """The first tool call that a new message answers and whose id we minted, so that it locates its run."""
        for message in self.new:
            if _MINTED_CALL_ID.fullmatch(message.tool_call_id):
                return message.tool_call_id
        return None

    @property
    def is_whole(self) -> bool:
        """Whether the history of the new messages is part of the request."""
        return len(self.messages) > len(self.new)


def read_conversation(messages: Sequence[ChatMessage], *, on_thread: bool) -> Conversation:
    """Returns the conversation.

    on_thread: the history is the thread's; then only the thread knows which tool calls are open.
    Raises InvalidArgumentError naming the message at fault.
    """
    spoken = [(index, message) for index, message in enumerate(messages) if message.role not in _INSTRUCTING]
    first_new = 1 + max((at for at, (_, message) in enumerate(spoken) if message.role == "assistant"), default=-1)
    if first_new == len(spoken):
        raise _wrong("messages", "The last message must be a user's or a tool's.")
    checked = spoken[first_new:] if on_thread else spoken
    _check_tool_messages(checked, lenient=on_thread)
    translated = [_to_proto(message) for _, message in spoken]
    instructions = "\n\n".join(m.content for m in messages if m.role in _INSTRUCTING and m.content)
    return Conversation(instructions, translated, translated[first_new:])


def thread_id_for(name: str, user_id: UUID, *, field: str) -> str:
    """Returns the thread that a name stands for: a UUID is itself, any other text is one of the user's own.

    Raises InvalidArgumentError for an empty or overlong name.
    """
    if not 1 <= len(name) <= _LONGEST_THREAD_NAME:
        raise _wrong(field, f"A thread id has 1 to {_LONGEST_THREAD_NAME} characters.")
    try:
        return str(UUID(name))
    except ValueError:
        return str(uuid5(user_id, f"thread:{name}"))


def run_thread(thread_id: str | None, conversation: Conversation) -> RunThread:
    """Returns the thread that the run works on."""
    if thread_id is not None:
        return RunThread(thread_id=thread_id, create_if_missing=True)
    answered = conversation.answered_call_id
    if answered is not None:
        return RunThread(answered_tool_call_id=answered)
    return RunThread(ephemeral=True)


def _check_tool_messages(spoken: Sequence[tuple[int, ChatMessage]], *, lenient: bool) -> None:
    open_ids: set[str] = set()
    for index, message in spoken:
        at = f"messages[{index}]"
        if message.role == "tool":
            _check_answer(message, open_ids, at=at, lenient=lenient)
        elif open_ids:
            raise _wrong(at, f"Tool calls have no answer yet: {', '.join(sorted(open_ids))}.")
        if message.tool_calls:
            if message.role != "assistant":
                raise _wrong(f"{at}.tool_calls", "Only assistant messages call tools.")
            open_ids = {call.id for call in message.tool_calls}
    if open_ids:
        raise _wrong("messages", f"Tool calls have no answer yet: {', '.join(sorted(open_ids))}.")


def _check_answer(message: ChatMessage, open_ids: set[str], *, at: str, lenient: bool) -> None:
    call_id = message.tool_call_id
    if not call_id:
        raise _wrong(f"{at}.tool_call_id", "A tool message names the call that it answers.")
    if call_id in open_ids:
        open_ids.discard(call_id)
    elif not lenient and not _MINTED_CALL_ID.fullmatch(call_id):
        raise _wrong(f"{at}.tool_call_id", "No open tool call has this id.")


def _to_proto(message: ChatMessage) -> common.Message:
    calls = [
        common.ToolCall(id=call.id, name=call.function.name, arguments_json=call.function.arguments.encode())
        for call in message.tool_calls or ()
    ]
    return common.Message(
        role=_ROLES[message.role],
        content=message.content or "",
        tool_calls=calls,
        tool_call_id=message.tool_call_id or "" if message.role == "tool" else "",
        name=message.name or "",
    )


def _wrong(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="invalid_value", field=field)
