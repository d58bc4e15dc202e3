"""Request bodies of the OpenAI wire: what is honoured, what is refused by name, and what is ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

_MOST_TOOLS = 128
_MOST_METADATA = 16
_LONGEST_METADATA_KEY = 64
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]


def _joined_text(value: object) -> object:
    """Returns content as one text; parts that are not text are refused by their place."""
    if not isinstance(value, list):
        return value
    texts: list[str] = []
    for index, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if kind in ("text", "refusal") and isinstance(part, dict) else None
        if not isinstance(text, str):
            raise PydanticCustomError(
                "unsupported_content",
                "Content parts of type {kind} are not supported.",
                {"kind": kind, "at": f"[{index}]"},
            )
        texts.append(text)
    return "".join(texts)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _few_pairs(value: object) -> object:
    """Refuses what is wrong with many keys by one error: pydantic would make one for each of a megabyte's."""
    if isinstance(value, dict) and len(value) > _MOST_METADATA:
        raise PydanticCustomError("too_many_pairs", "Metadata has at most {most} pairs.", {"most": _MOST_METADATA})
    if isinstance(value, dict) and any(len(key) > _LONGEST_METADATA_KEY for key in value):
        raise PydanticCustomError(
            "too_long_key", "Keys of metadata have at most {most} characters.", {"most": _LONGEST_METADATA_KEY}
        )
    return value


Content = Annotated[
    str | None,
    BeforeValidator(_joined_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "null"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                        "required": ["type", "text"],
                    },
                },
            ]
        }
    ),
]


# As many and as long as OpenAI has them.
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=_LONGEST_METADATA_KEY)], Annotated[str, Field(max_length=512)]],
    Field(max_length=_MOST_METADATA),
    BeforeValidator(_few_pairs),
]


class _Body(BaseModel):
    # Unknown fields are harmless hints of newer clients; wrong types are never guessed at. What any JSON will do for
    # is Any: it was JSON when it was parsed, and going through a megabyte of it again would hold everybody up.
    model_config = ConfigDict(extra="ignore", strict=True)


class FunctionCall(_Body):
    """What a tool is called with."""

    name: Name
    arguments: str = "{}"


class CalledTool(_Body):
    """A tool call of an assistant message."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(_Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    name: Annotated[str | None, Field(max_length=128)] = None
    tool_calls: Annotated[list[CalledTool] | None, Field(max_length=_MOST_TOOLS)] = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise PydanticCustomError(
                "missing_content", "A message of the {role} says something.", {"role": self.role, "at": ".content"}
            )
        return self


class FunctionDefinition(_Body):
    """A tool of the caller's."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolDefinition(_Body):
    """A tool that the caller executes."""

    type: Literal["function"]
    function: FunctionDefinition


class StreamOptions(_Body):
    """How to stream."""

    include_usage: bool | None = None


class ChatCompletionRequest(_Body):
    """The body of `POST /v1/chat/completions`."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    """An agent's name, or `name@release`."""
    # One wrong message says enough; an error for each of a megabyte's would be a gigabyte.
    messages: Annotated[list[ChatMessage], FailFast(), Field(min_length=1, max_length=10_000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[ToolDefinition] | None, Field(max_length=_MOST_TOOLS)] = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    stop: Annotated[
        Annotated[list[str], Field(max_length=4)] | None,
        BeforeValidator(_as_list),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "null"},
                    {"type": "array", "items": {"type": "string"}, "maxItems": 4},
                ]
            }
        ),
    ] = None
    seed: Annotated[int | None, Field(ge=-(2**63), le=2**63 - 1)] = None
    response_format: dict[str, Any] | None = None
    user: Annotated[str | None, Field(max_length=256)] = None
    metadata: Metadata | None = None


class EmbeddingsRequest(_Body):
    """The body of `POST /v1/embeddings`."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Annotated[
        Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=256)],
        BeforeValidator(_as_list),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 256},
                ]
            }
        ),
    ]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: None = None
    """Not supported: vectors have the length of the platform's route."""
    user: Annotated[str | None, Field(max_length=256)] = None


REFUSED: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "audio": (None,),
    "modalities": (None, ["text"]),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "web_search_options": (None,),
    "best_of": (None, 1),
    "echo": (None, False),
}
"""What we do not do, with the values that ask for nothing. Anything else in these fields is refused by name."""
