"""What a run was asked to do, read from the start request that its row keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb

from flotilla_orchestrator.model import CallerTool, Json, MessageDict, RunOptions
from flotilla_orchestrator.runs.event_log.codec import message_from_proto
from flotilla_orchestrator.runs.execution.identifiers import input_message_id


@dataclass(frozen=True, slots=True)
class Resume:
    """The answer to an interrupt."""

    value: Any
    interrupt_id: str


@dataclass(frozen=True, slots=True)
class RunWork:
    """A run's input and options."""

    messages: Sequence[MessageDict]
    """Each with an id."""
    state: Json
    resume: Resume | None
    options: RunOptions
    is_stateless: bool
    """The thread is the request's own and ephemeral."""
    is_new_thread: bool
    """Nothing was ever stored for the thread."""
    omits_tokens: bool = False
    """Nobody reads along, so that replies are wanted whole."""


def read_work(run_id: UUID, stored: bytes) -> RunWork:
    """Returns the work of a stored StartRunRequest. Raises ValueError where JSON or a role is wrong."""
    return work_of(run_id, pb.StartRunRequest.FromString(stored))


def work_of(run_id: UUID, request: pb.StartRunRequest) -> RunWork:
    """Returns the work of a StartRunRequest. Raises ValueError where JSON or a role is wrong."""
    resume = None
    if request.WhichOneof("work") == "resume":
        resume = Resume(_json(request.resume.value_json, None), request.resume.interrupt_id)
    return RunWork(
        messages=_messages(run_id, request),
        state=_json(request.input.state_json, {}),
        resume=resume,
        options=options_of(request.options),
        is_new_thread=request.thread.WhichOneof("target") == "ephemeral",
        is_stateless=request.thread.WhichOneof("target") != "thread_id",
        omits_tokens=request.omit_tokens,
    )


def options_of(options: pb.RunOptions) -> RunOptions:
    """Returns the caller's options. Raises ValueError where JSON is wrong."""
    return RunOptions(
        temperature=options.temperature if options.HasField("temperature") else None,
        top_p=options.top_p if options.HasField("top_p") else None,
        max_output_tokens=options.max_output_tokens if options.HasField("max_output_tokens") else None,
        stop=tuple(options.stop),
        seed=options.seed if options.HasField("seed") else None,
        response_format=_json(options.response_format_json, None),
        tool_choice=_json(options.tool_choice_json, None),
        parallel_tool_calls=options.parallel_tool_calls if options.HasField("parallel_tool_calls") else None,
        caller_tools=tuple(
            CallerTool(tool.name, tool.description, _json(tool.parameters_json, {})) for tool in options.caller_tools
        ),
        instructions=options.instructions,
    )


def _messages(run_id: UUID, request: pb.StartRunRequest) -> list[MessageDict]:
    messages = []
    for index, sent in enumerate(request.input.messages):
        message = message_from_proto(sent)
        message["id"] = sent.id or input_message_id(run_id, index)
        messages.append(message)
    return messages


def _json(text: bytes, default: Any) -> Any:
    return orjson.loads(text) if text else default
