"""A chat request as the orchestrator's StartRunRequest."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import orjson
from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1.orchestrator_service_pb2 import RunInput, RunOptions, StartRunRequest
from flotilla_common.errors import InvalidArgumentError
from flotilla_common.ids import new_id

from flotilla_gateway.wires.openai.conversation import read_conversation, run_thread, thread_id_for
from flotilla_gateway.wires.openai.schema import ChatCompletionRequest, ToolDefinition

WIRE = "openai"
_MOST_METADATA_BYTES = 16_000
_CHOICES = frozenset({"none", "auto", "required"})
_OURS = ("thread_id", "on_disconnect")
# How the answer is looked at, not what is asked: the same work whether it is streamed or not.
_VIEWS = frozenset({"stream", "stream_options"})


def start_run_request(
    chat: ChatCompletionRequest, parsed: dict[str, Any], *, user_id: UUID, thread_header: str | None
) -> StartRunRequest:
    """Returns the run that a chat request asks for. Raises InvalidArgumentError naming the field at fault."""
    metadata = chat.metadata or {}
    thread_id = _thread_id(metadata.get("thread_id"), thread_header, user_id)
    conversation = read_conversation(chat.messages, on_thread=thread_id is not None)
    thread = run_thread(thread_id, conversation)
    return StartRunRequest(
        run_id=str(new_id()),
        agent=chat.model,
        thread=thread,
        # An ephemeral thread begins with the caller's whole history; any other has its own.
        input=RunInput(messages=conversation.messages if thread.ephemeral else conversation.new),
        options=_options(chat, conversation.instructions),
        wire=WIRE,
        body_hash=body_hash(parsed, thread_id),
        metadata_json=_metadata_json(metadata),
        omit_tokens=not chat.stream,
    )


def as_stateless(request: StartRunRequest, chat: ChatCompletionRequest) -> StartRunRequest | None:
    """Returns the request with the caller's history in place of a thread that is gone, or None when it brought none."""
    conversation = read_conversation(chat.messages, on_thread=False)
    if not conversation.is_whole:
        return None
    again = StartRunRequest()
    again.CopyFrom(request)
    again.run_id = str(new_id())
    again.thread.ephemeral = True
    again.input.CopyFrom(RunInput(messages=conversation.messages))
    return again


def body_hash(parsed: dict[str, Any], thread_id: str | None) -> bytes:
    """Returns SHA-256 of what is asked, however its JSON was written and whether or not it is streamed."""
    asked = {field: value for field, value in parsed.items() if field not in _VIEWS}
    canonical = orjson.dumps([asked, thread_id], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).digest()


def _thread_id(in_metadata: str | None, in_header: str | None, user_id: UUID) -> str | None:
    if in_metadata is not None and in_header is not None and in_metadata != in_header:
        raise InvalidArgumentError("metadata.thread_id and X-Thread-Id differ.", field="metadata.thread_id")
    if in_metadata is not None:
        return thread_id_for(in_metadata, user_id, field="metadata.thread_id")
    if in_header is not None:
        return thread_id_for(in_header, user_id, field="X-Thread-Id")
    return None


def _options(chat: ChatCompletionRequest, instructions: str) -> RunOptions:
    return RunOptions(
        temperature=chat.temperature,
        top_p=chat.top_p,
        max_output_tokens=chat.max_completion_tokens or chat.max_tokens,
        stop=chat.stop or (),
        seed=chat.seed,
        response_format_json=_response_format(chat),
        tool_choice_json=_tool_choice(chat),
        parallel_tool_calls=chat.parallel_tool_calls,
        caller_tools=[_caller_tool(tool, index, chat) for index, tool in enumerate(chat.tools or ())],
        instructions=instructions,
    )


def _caller_tool(tool: ToolDefinition, index: int, chat: ChatCompletionRequest) -> common.ToolDefinition:
    function = tool.function
    if any(function.name == earlier.function.name for earlier in (chat.tools or [])[:index]):
        raise InvalidArgumentError(
            f"Two tools have the name {function.name}.", reason="invalid_value", field=f"tools[{index}].function.name"
        )
    return common.ToolDefinition(
        name=function.name,
        description=function.description or "",
        parameters_json=orjson.dumps(function.parameters or {"type": "object", "properties": {}}),
    )


def _tool_choice(chat: ChatCompletionRequest) -> bytes:
    choice = chat.tool_choice
    if choice is None:
        return b""
    names = {tool.function.name for tool in chat.tools or ()}
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    is_named = isinstance(function, dict) and function.get("name") in names
    if not is_named and not (isinstance(choice, str) and choice in _CHOICES):
        raise InvalidArgumentError(
            "tool_choice must be none, auto, required or one of the tools.", reason="invalid_value", field="tool_choice"
        )
    return orjson.dumps(choice)


def _response_format(chat: ChatCompletionRequest) -> bytes:
    given = chat.response_format
    if given is None or given.get("type") == "text":
        return b""
    if given.get("type") == "json_schema" and not isinstance(given.get("json_schema"), dict):
        raise InvalidArgumentError(
            "A JSON schema is missing.", reason="invalid_value", field="response_format.json_schema"
        )
    if given.get("type") not in ("json_schema", "json_object"):
        raise InvalidArgumentError("Unknown type.", reason="invalid_value", field="response_format.type")
    return orjson.dumps(given)


def _metadata_json(metadata: dict[str, str]) -> bytes:
    kept = {key: value for key, value in metadata.items() if key not in _OURS}
    encoded = orjson.dumps(kept) if kept else b""
    if len(encoded) > _MOST_METADATA_BYTES:
        raise InvalidArgumentError("Metadata may have at most 16 kB.", reason="invalid_value", field="metadata")
    return encoded
