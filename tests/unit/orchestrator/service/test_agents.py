"""Agents as callers see them."""

from __future__ import annotations

from pathlib import Path

from fakes.model_script import ScriptedModel, always
from fakes.peers import FakeTools
from fakes.run_engine import AGENTS, catalogue_in
from flotilla_common.identity import Identity
from flotilla_common.ids import new_id
from flotilla_common.request import acting_as
from flotilla_orchestrator.graphs.release_catalogue import ReleaseCatalogue
from flotilla_orchestrator.runs.execution.toolbox import ToolDirectory
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.service.agents import AgentService
from flotilla_orchestrator.stores.in_memory.release_store import InMemoryReleaseStore
from prometheus_client import CollectorRegistry

CLERK = "name: clerk\ndescription: Tells the time.\npattern: react\nprompt: prompts/be-kind.md\ntools: [clock]\n"


async def test_agents_are_listed_with_one_question_for_all_their_tools(tmp_path: Path) -> None:
    files = catalogue_in(tmp_path, {**AGENTS, "clerk.yaml": CLERK})
    tools = FakeTools(tools={"calculator": str, "clock": str})
    directory = ToolDirectory(tools, metrics=RunMetrics(CollectorRegistry()))
    catalogue = ReleaseCatalogue(files, InMemoryReleaseStore())
    service = AgentService(catalogue, directory, ScriptedModel(always("")), embedding_route="embedding")

    with acting_as(Identity(new_id(), new_id())):
        agents = await service.list()

    assert {agent.release.agent: [tool.name for tool in agent.tools] for agent in agents} == {
        "clerk": ["clock"],
        "plain": [],
        "worker": ["calculator", "remember", "search_memory"],
    }
    assert tools.lists == 1
