"""The agents in the box answer without a key: real graphs, the development model over HTTP, the real calculator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from fakes.agent_files import Thread, graph_of, human
from fakes.scripted_run import ScriptedRun
from flotilla_common.ids import new_id
from flotilla_llm import ChatReply, ChatRequest, ModelClient, open_models
from flotilla_llm.development.server import running_model
from flotilla_llm.settings import DEVELOPMENT_MODEL, ModelSettings
from flotilla_orchestrator.graphs.context import ModelReply, ModelTurn, Step
from flotilla_orchestrator.model import FinishReason, MessageDict, ToolCallDict
from flotilla_orchestrator.runs.execution.wire_messages import to_wire
from flotilla_tool.model import Caller
from flotilla_tool.tools.calculator import Calculator
from flotilla_tool.tools.tool import Invocation

AGENTS = Path(__file__).parents[4] / "agents"


@pytest.fixture
async def models() -> AsyncIterator[ModelClient]:
    async with running_model(host="127.0.0.1", port=0) as server:
        settings = ModelSettings(model_base_url=server.base_url, model_name=DEVELOPMENT_MODEL)
        async with open_models(settings.routes()) as client:
            yield client


def definition(calculator: Calculator) -> Mapping[str, Any]:
    spec = calculator.spec
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return {"type": "function", "function": function}


@dataclass
class ModelRun(ScriptedRun):
    """A run whose replies a model makes; it has the calculator and no other tool."""

    models: ModelClient | None = None
    calculator: Calculator = field(default_factory=Calculator)

    def __post_init__(self) -> None:
        self.tools = [definition(self.calculator)]

    async def call_model(self, step: Step, turn: ModelTurn) -> ModelReply:
        assert self.models is not None
        self.turns.append((step, turn))
        request = ChatRequest(
            messages=[to_wire(message) for message in turn.messages],
            tools=turn.tools,
            response_format=turn.response_format,
            temperature=turn.temperature,
            max_output_tokens=turn.max_output_tokens,
        )
        reply = await self.models.complete(request, routes=turn.routes)
        if turn.is_answer:
            self.sent.append(reply.content)
        return ModelReply(self._message(step, turn, reply), FinishReason.STOP)

    def _message(self, step: Step, turn: ModelTurn, reply: ChatReply) -> MessageDict:
        message = MessageDict(id=f"{self.run_id}-{step.node}-{step.number}", type="ai", content=reply.content)
        if turn.speaker:
            message["name"] = turn.speaker
        if reply.tool_calls:
            message["tool_calls"] = [
                ToolCallDict(id=f"call-{step.number}-{place}", name=call.name, args_json=call.arguments)
                for place, call in enumerate(reply.tool_calls)
            ]
        return message

    async def invoke_tools(self, step: Step, calls: MessageDict) -> list[MessageDict]:
        self.invoked.append((step, [call["name"] for call in calls["tool_calls"]]))
        caller = Caller(tenant_id=new_id(), user_id=new_id(), run_id=self.run_id)
        return [
            MessageDict(
                id=f"result-{call['id']}",
                type="tool",
                content=await self.calculator.invoke(orjson.loads(call["args_json"]), Invocation(caller, call["id"])),
                tool_call_id=call["id"],
                name=call["name"],
            )
            for call in calls["tool_calls"]
        ]


@pytest.mark.parametrize("agent", ["assistant", "research", "support"])
async def test_agent_calculates_exactly(models: ModelClient, agent: str) -> None:
    run = ModelRun([], models=models)

    await Thread(graph_of(AGENTS, agent)).run(run, human("What is 17 % of 2,349?"))

    assert [names for _, names in run.invoked] == [["calculator"]]
    assert "399.33" in run.sent[-1]


@pytest.mark.parametrize("agent", ["assistant", "support"])
async def test_agent_uses_what_it_knows_about_the_person(models: ModelClient, agent: str) -> None:
    run = ModelRun([], models=models, recalled="- My favourite colour is teal.")

    await Thread(graph_of(AGENTS, agent)).run(run, human("What is my favourite colour?"))

    assert "teal" in run.sent[-1]


async def test_research_is_done_before_the_answer(models: ModelClient) -> None:
    run = ModelRun([], models=models)

    values = await Thread(graph_of(AGENTS, "research")).run(run, human("What is 17 % of 2,349?"))

    assert run.nodes() == ["supervisor", "researcher", "researcher", "supervisor", "writer"]
    assert values["messages"][-1]["name"] == "writer"


async def test_support_sorts_drafts_and_checks(models: ModelClient) -> None:
    run = ModelRun([], models=models)

    values = await Thread(graph_of(AGENTS, "support")).run(run, human("I was charged twice on my invoice."))

    assert values["work"]["results"]["classify"] == "billing"
    assert run.nodes() == ["classify", "answer", "check"]
    assert run.sent == [values["messages"][-1]["content"]]
