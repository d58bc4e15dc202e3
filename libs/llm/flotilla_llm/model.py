"""The model layer's plain values: what is asked of a model and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WireMessage = Mapping[str, Any]
"""A message as the OpenAI wire writes it: `role`, `content`, `tool_calls`, `tool_call_id`, `name`."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A question to a chat model; None leaves the provider's own default."""

    messages: Sequence[WireMessage]
    tools: Sequence[Mapping[str, Any]] = ()
    """OpenAI's definitions: `{"type": "function", "function": {"name", "description", "parameters"}}`."""
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    parallel_tool_calls: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Sent only to routes that say `sends_metadata`; never needed for an answer."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of one model call."""

    model: str
    """The provider's name of the model that answered."""
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int
    """Millionths of a US dollar by the route's price; 0 when the route has none."""
    cached_input_tokens: int = 0
    """The part of `input_tokens` that the provider read from its prompt cache."""
    is_estimated: bool = False
    """True when the provider sent no usage and the tokens were counted here."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the reply's text: one token, or all that arrived together."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The next piece of a tool call; `id` and `name` come with a call's first piece and are empty after it."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """The last part of every complete stream."""

    finish_reason: str
    """stop, length, tool_calls or content_filter."""
    usage: Usage
    route: str


StreamPart = TextDelta | ToolCallDelta | ReplyEnd


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to have a tool invoked; `arguments` is exactly what the model wrote, valid JSON or not."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A whole reply."""

    content: str
    tool_calls: Sequence[ToolCall]
    finish_reason: str
    usage: Usage
    route: str


@dataclass(frozen=True, slots=True)
class EmbeddingReply:
    """One vector for each text, in the order of the texts."""

    vectors: Sequence[Sequence[float]]
    model: str
    usage: Usage
