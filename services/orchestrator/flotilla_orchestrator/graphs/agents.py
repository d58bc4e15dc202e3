"""Makes an agent's graph out of what its file says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flotilla_orchestrator.graphs.pipeline import InnerStep, Plan, build_pipeline
from flotilla_orchestrator.graphs.prompt import Prompt
from flotilla_orchestrator.graphs.react import build_react
from flotilla_orchestrator.graphs.speaker import Speaker
from flotilla_orchestrator.graphs.spec import (
    PipelineAgent,
    PromptedSpec,
    ReactAgent,
    StepSpec,
    SubAgentSpec,
    SupervisorAgent,
)
from flotilla_orchestrator.graphs.supervisor import FINISH, SUPERVISOR, Team, build_supervisor
from flotilla_orchestrator.graphs.wiring import Graph

MEMORY_TOOLS = frozenset({"search_memory", "remember"})


@dataclass(frozen=True, slots=True)
class Voices:
    """Makes an agent's speakers."""

    spec: PromptedSpec
    prompts: Mapping[str, Prompt]
    """By the file's name as it stands in the spec."""

    def main(self, *, tools: Iterable[str] = (), name: str = "", answers: bool) -> Speaker:
        """Returns the agent's own voice. Whoever answers gets memory's tools."""
        spec = self.spec
        if isinstance(spec, PipelineAgent):
            raise AssertionError("a pipeline speaks by its steps")
        return Speaker(
            prompt=self.prompts[spec.prompt],
            routes=tuple(spec.model),
            max_output_tokens=spec.limits.max_output_tokens,
            tools=self._tools(tools, answers=answers),
            temperature=spec.temperature,
            name=name,
        )

    def part(self, part: SubAgentSpec | StepSpec, *, name: str = "", answers: bool) -> Speaker:
        """Returns the voice of a sub-agent or step; what it leaves open is the agent's."""
        spec = self.spec
        return Speaker(
            prompt=self.prompts[part.prompt],
            routes=tuple(part.model or spec.model),
            max_output_tokens=spec.limits.max_output_tokens,
            tools=self._tools(part.tools, answers=answers),
            temperature=spec.temperature if part.temperature is None else part.temperature,
            name=name,
        )

    def _tools(self, names: Iterable[str], *, answers: bool) -> frozenset[str]:
        own = frozenset(names)
        return own | MEMORY_TOOLS if answers and self.spec.memory.tools else own


def build_graph(spec: PromptedSpec, prompts: Mapping[str, Prompt]) -> Graph:
    """Returns the graph of an agent whose pattern is ours, not compiled yet."""
    voices = Voices(spec, prompts)
    match spec:
        case ReactAgent():
            return build_react(voices.main(tools=spec.tools, answers=True), max_steps=spec.limits.max_steps)
        case SupervisorAgent():
            return build_supervisor(_team(spec, voices))
        case PipelineAgent():
            return build_pipeline(_plan(spec, voices))


def permitted_tools(spec: PromptedSpec) -> frozenset[str]:
    """Returns the names of all tools that any part of the agent may call, memory's among them."""
    match spec:
        case ReactAgent():
            named = frozenset(spec.tools)
        case SupervisorAgent():
            named = frozenset(tool for agent in spec.agents for tool in agent.tools)
        case PipelineAgent():
            named = frozenset(tool for step in spec.steps for tool in step.tools)
    return named | MEMORY_TOOLS if spec.memory.tools else named


def _team(spec: SupervisorAgent, voices: Voices) -> Team:
    answering = next((agent for agent in spec.agents if agent.name == spec.answer), None)
    descriptions = {agent.name: agent.description for agent in spec.agents}
    if answering is None:
        descriptions[FINISH] = "Enough is known: you answer the person yourself."
    return Team(
        router=voices.main(name=SUPERVISOR, answers=False),
        workers={
            agent.name: voices.part(agent, name=agent.name, answers=False)
            for agent in spec.agents
            if agent is not answering
        },
        answerer=voices.part(answering, name=answering.name, answers=True)
        if answering
        else voices.main(name=SUPERVISOR, answers=True),
        answer_node=answering.name if answering else FINISH,
        descriptions=descriptions,
        max_hand_offs=spec.max_hand_offs,
        max_steps=spec.limits.max_steps,
    )


def _plan(spec: PipelineAgent, voices: Voices) -> Plan:
    *inner, answer = [step for step in spec.steps if not step.reviews]
    review = next((step for step in spec.steps if step.reviews), None)
    return Plan(
        inner=[
            InnerStep(step.name, voices.part(step, answers=False), step.labels, step.output_schema) for step in inner
        ],
        answer_name=answer.name,
        answerer=voices.part(answer, answers=True),
        max_steps=spec.limits.max_steps,
        review_name=review.name if review else "",
        reviewer=voices.part(review, answers=False) if review else None,
    )
