"""A chat request as the development model reads it, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flotilla_llm.tokens import text_of

_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
MAX_OUTPUT_TOKENS = 2000


class BadRequest(Exception):
    """A request that is refused with 400, naming the field."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation, as text."""

    role: str
    text: str
    name: str = ""
    call_ids: tuple[str, ...] = ()
    call_names: tuple[str, ...] = ()
    answers: str = ""
    """The id of the tool call that a tool message answers."""


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """A tool that the model may call."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A chat request."""

    model: str
    messages: Sequence[Message]
    tools: Sequence[ToolOffer] = ()
    tool_choice: str = "auto"
    """auto, none, required, or `=name` for one tool."""
    parallel_tool_calls: bool = True
    schema: Mapping[str, Any] | None = None
    """The JSON Schema of the wanted object; empty for any object, None for text."""
    stop: Sequence[str] = ()
    max_tokens: int = MAX_OUTPUT_TOKENS
    streams: bool = False
    includes_usage: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The last thing that the user said."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def instructions(self) -> str:
        """Everything that the system said."""
        return "\n".join(message.text for message in self.messages if message.role in ("system", "developer"))


def read_call(body: Any) -> ChatCall:
    """Returns the request. Raises BadRequest naming the field that is wrong."""
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", "body")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a list with at least one message.", "messages")
    if body.get("n") not in (None, 1):
        raise BadRequest("Only n=1 is supported.", "n")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise BadRequest("The limit of tokens must be a positive integer.", "max_tokens")
    stop = body.get("stop") or ()
    return ChatCall(
        model=str(body.get("model") or ""),
        messages=[_read_message(message, at) for at, message in enumerate(messages)],
        tools=[_read_tool(tool, at) for at, tool in enumerate(body.get("tools") or ())],
        tool_choice=_read_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        schema=_read_schema(body.get("response_format")),
        stop=[stop] if isinstance(stop, str) else list(stop),
        max_tokens=min(limit or MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS),
        streams=bool(body.get("stream")),
        includes_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        metadata=body.get("metadata") or {},
    )


def _read_message(message: Any, at: int) -> Message:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise BadRequest(f"'messages[{at}].role' must be one of {', '.join(sorted(_ROLES))}.", f"messages[{at}].role")
    calls = message.get("tool_calls") or ()
    return Message(
        role=message["role"],
        text=text_of(message.get("content")),
        name=message.get("name") or "",
        call_ids=tuple(call.get("id") or "" for call in calls),
        call_names=tuple((call.get("function") or {}).get("name") or "" for call in calls),
        answers=message.get("tool_call_id") or "",
    )


def _read_tool(tool: Any, at: int) -> ToolOffer:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not function.get("name"):
        raise BadRequest(f"'tools[{at}].function.name' is missing.", f"tools[{at}].function.name")
    return ToolOffer(function["name"], function.get("description") or "", function.get("parameters") or {})


def _read_tool_choice(choice: Any) -> str:
    if isinstance(choice, dict):
        return "=" + str((choice.get("function") or {}).get("name") or "")
    return choice if choice in ("none", "required") else "auto"


def _read_schema(response_format: Any) -> Mapping[str, Any] | None:
    kind = (response_format or {}).get("type")
    if kind == "json_object":
        return {}
    if kind == "json_schema":
        return (response_format.get("json_schema") or {}).get("schema") or {}
    return None
