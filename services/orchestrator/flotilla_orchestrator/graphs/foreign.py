"""Graphs from somebody's own code: how they are found, and how messages get in and out of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import orjson
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from flotilla_orchestrator.graphs.catalogue import CompiledGraph
from flotilla_orchestrator.graphs.messages import add_messages
from flotilla_orchestrator.graphs.positions import did_you_mean
from flotilla_orchestrator.model import MessageDict, ToolCallDict


class GraphImportError(Exception):
    """A `graph: module:attribute` that leads to no graph."""


def import_graph(reference: str, *, beside: Path) -> CompiledGraph:
    """Returns the compiled graph that `module:attribute` names, without a checkpointer of its own.

    The module is installed, on PYTHONPATH, or lies beside the agent's file. Raises GraphImportError.
    """
    module_name, _, attribute = reference.partition(":")
    folder = str(beside.resolve())
    if folder not in sys.path:
        # Appended, never first: a file beside the agents must not hide an installed module.
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        # Whatever somebody's module raises at import is the problem of the file that names it.
        raise GraphImportError(f"'{module_name}' cannot be imported: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        raise GraphImportError(f"'{module_name}' has no '{attribute}'{did_you_mean(attribute, vars(module))}")
    return _compiled(getattr(module, attribute), reference)


def is_native(graph: CompiledGraph) -> bool:
    """Whether a graph's state was made of our ConversationState, so that it holds MessageDicts."""
    return getattr(graph.channels["messages"], "operator", None) is add_messages


def source_of(reference: str) -> bytes:
    """Returns the source of an imported module, so that another code is another release; empty when it has none."""
    file = getattr(sys.modules[reference.partition(":")[0]], "__file__", None)
    return Path(file).read_bytes() if file else b""


def _compiled(found: object, reference: str) -> CompiledGraph:
    if not isinstance(found, Pregel | StateGraph) and callable(found):
        try:
            found = found()
        except Exception as error:
            raise GraphImportError(f"'{reference}' raised {type(error).__name__}: {error}") from error
    if isinstance(found, StateGraph):
        found = found.compile()
    if not isinstance(found, Pregel):
        raise GraphImportError(f"'{reference}' is a {type(found).__name__} and no LangGraph graph")
    if "messages" not in found.channels:
        raise GraphImportError(f"the state of '{reference}' has no `messages`")
    return found.copy({"checkpointer": None})


def to_langchain(message: MessageDict) -> BaseMessage:
    """Returns a message as LangChain's object, for the state of a graph that was not written for us."""
    content, id_, name = message.get("content", ""), message.get("id"), message.get("name")
    match message["type"]:
        case "human":
            return HumanMessage(content, id=id_, name=name)
        case "system":
            return SystemMessage(content, id=id_, name=name)
        case "tool":
            return ToolMessage(content, id=id_, name=name, tool_call_id=message["tool_call_id"])
        case "ai":
            calls = [_call_to_langchain(call) for call in message.get("tool_calls") or ()]
            return AIMessage(content, id=id_, name=name, tool_calls=calls)


def to_message_dict(message: AnyMessage | BaseMessage | Mapping[str, Any]) -> MessageDict:
    """Returns a message of any graph's state as ours; a MessageDict comes back as it is."""
    if not isinstance(message, BaseMessage):
        return cast("MessageDict", message)
    value = MessageDict(type=_type_of(message), content=str(message.text))
    if message.id:
        value["id"] = message.id
    if message.name:
        value["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        value["tool_calls"] = [
            ToolCallDict(id=call["id"] or "", name=call["name"], args_json=orjson.dumps(call["args"]).decode())
            for call in message.tool_calls
        ]
    if isinstance(message, ToolMessage):
        value["tool_call_id"] = message.tool_call_id
    return value


def _type_of(message: BaseMessage) -> Any:
    return message.type if message.type in {"system", "human", "ai", "tool"} else "human"


def _call_to_langchain(call: ToolCallDict) -> Any:
    try:
        args = orjson.loads(call["args_json"] or "{}")
    except orjson.JSONDecodeError:
        args = {}
    return {"id": call["id"], "name": call["name"], "args": args if isinstance(args, dict) else {}, "type": "tool_call"}
