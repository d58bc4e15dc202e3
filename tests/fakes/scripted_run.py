"""A run whose model says what a script tells it: real objects for testing graphs without an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from flotilla_common.ids import new_id
from flotilla_orchestrator.graphs.context import ModelReply, ModelTurn, Step
from flotilla_orchestrator.model import FinishReason, MessageDict, RunOptions, ToolCallDict


def tool(name: str) -> Mapping[str, Any]:
    """Returns a tool's definition."""
    return {"type": "function", "function": {"name": name, "description": name, "parameters": {"type": "object"}}}


@dataclass
class Say:
    """One scripted reply."""

    text: str = ""
    calls: Sequence[str] = ()
    """Names of the tools it calls."""


@dataclass
class ScriptedRun:
    """Implements RunContext; replies come in the script's order, and everything asked is kept."""

    script: list[Say]
    run_id: UUID = field(default_factory=new_id)
    options: RunOptions = field(default_factory=RunOptions)
    recalled: str = ""
    tools: Sequence[Mapping[str, Any]] = (tool("calculator"), tool("clock"), tool("search_memory"), tool("remember"))
    turns: list[tuple[Step, ModelTurn]] = field(default_factory=list)
    invoked: list[tuple[Step, list[str]]] = field(default_factory=list)
    published: list[tuple[Step, MessageDict]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    """What the caller read, in order."""

    async def recall(self) -> str:
        return self.recalled

    async def call_model(self, step: Step, turn: ModelTurn) -> ModelReply:
        self.turns.append((step, turn))
        said = self.script.pop(0)
        message = MessageDict(id=f"{self.run_id}-{step.node}-{step.number}", type="ai", content=said.text)
        if said.calls:
            message["tool_calls"] = [
                ToolCallDict(id=f"call-{step.number}-{place}", name=name, args_json="{}")
                for place, name in enumerate(said.calls)
            ]
        if turn.speaker:
            message["name"] = turn.speaker
        if turn.is_answer:
            self.sent.append(said.text)
        return ModelReply(message, FinishReason.TOOL_CALLS if said.calls else FinishReason.STOP)

    async def publish(self, step: Step, reply: ModelReply) -> MessageDict:
        message: MessageDict = {**reply.message, "id": f"{self.run_id}-{step.node}-{step.number}-answer"}
        self.published.append((step, message))
        self.sent.append(message.get("content", ""))
        return message

    async def invoke_tools(self, step: Step, calls: MessageDict) -> list[MessageDict]:
        callers = {tool.name for tool in self.options.caller_tools}
        mine = [call for call in calls["tool_calls"] if call["name"] not in callers]
        self.invoked.append((step, [call["name"] for call in mine]))
        return [
            MessageDict(
                id=f"result-{call['id']}",
                type="tool",
                content=f"{call['name']} says 42",
                tool_call_id=call["id"],
                name=call["name"],
            )
            for call in mine
        ]

    def record_input(self, messages: Sequence[MessageDict]) -> None:
        raise NotImplementedError("graphs leave the input to the engine")

    def offered(self, turn: int) -> list[str]:
        """Returns the names of the tools that a model call was offered."""
        return [tool["function"]["name"] for tool in self.turns[turn][1].tools]

    def system_prompt(self, turn: int) -> str:
        """Returns the system prompt of a model call."""
        return self.turns[turn][1].messages[0].get("content", "")

    def nodes(self) -> list[str]:
        """Returns the nodes that called the model, in order."""
        return [step.node for step, _ in self.turns]
