"""What must hold between the parts of an agent's file, beyond what each part may say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jsonschema import Draft202012Validator, SchemaError

from flotilla_orchestrator.graphs.agents import MEMORY_TOOLS
from flotilla_orchestrator.graphs.positions import Location, did_you_mean
from flotilla_orchestrator.graphs.prompt import BUILT_IN_VARIABLES
from flotilla_orchestrator.graphs.review import CALLS_AFTER_DRAFT
from flotilla_orchestrator.graphs.spec import (
    AgentSpec,
    GraphAgent,
    PipelineAgent,
    ReactAgent,
    StepSpec,
    SubAgentSpec,
    SupervisorAgent,
)
from flotilla_orchestrator.graphs.supervisor import CALLS_AFTER_ROUTING

Finding = tuple[Location, str]

_RESERVED_NODES = frozenset({"messages", "steps", "work", "supervisor", "finish"}) | BUILT_IN_VARIABLES


def check(spec: AgentSpec) -> Iterator[Finding]:
    """Yields what is wrong with a file whose every part is right by itself."""
    match spec:
        case SupervisorAgent():
            yield from _check_supervisor(spec)
        case PipelineAgent():
            yield from _check_pipeline(spec)
        case ReactAgent() | GraphAgent():
            yield from _check_tools(spec.tools, ["tools"])
    if not isinstance(spec, GraphAgent):
        for name in sorted(BUILT_IN_VARIABLES & spec.variables.keys()):
            yield ["variables", name], f"'{name}' is given by Flotilla; choose another name"


def _check_supervisor(spec: SupervisorAgent) -> Iterator[Finding]:
    names = [agent.name for agent in spec.agents]
    yield from _check_parts("agents", spec.agents, taken=())
    if spec.answer is not None and spec.answer not in names:
        yield ["answer"], f"'{spec.answer}' is none of the agents{did_you_mean(spec.answer, names)}"
    if spec.answer is not None and len(names) < 2:
        yield ["agents"], "besides the agent that answers there must be another one to do the work"
    least = CALLS_AFTER_ROUTING + 1
    if spec.limits.max_steps < least:
        yield ["limits", "max_steps"], f"routing, work and answer take {least} model calls"


def _check_pipeline(spec: PipelineAgent) -> Iterator[Finding]:
    yield from _check_parts("steps", spec.steps, taken=spec.variables)
    for place, step in enumerate(spec.steps):
        yield from ((["steps", place, *where], message) for where, message in _check_step(spec, place, step))
    answering = [step for step in spec.steps if not step.reviews]
    if not answering:
        yield ["steps"], "there is no step that answers"
    elif answering[-1].labels or answering[-1].output_schema:
        key = "labels" if answering[-1].labels else "output_schema"
        place = spec.steps.index(answering[-1])
        yield ["steps", place, key], f"'{answering[-1].name}' answers the person, so it gives text"
    least = len(spec.steps) + (CALLS_AFTER_DRAFT - 1 if len(answering) < len(spec.steps) else 0)
    if spec.limits.max_steps < least:
        yield ["limits", "max_steps"], f"these steps take up to {least} model calls"


def _check_step(spec: PipelineAgent, place: int, step: StepSpec) -> Iterator[Finding]:
    if step.labels and step.output_schema:
        yield ["output_schema"], "a step gives a label or an object, not both"
    if step.output_schema:
        yield from _check_schema(step.output_schema)
    if not step.reviews:
        return
    if place != len(spec.steps) - 1 or place == 0 or spec.steps[place - 1].name != step.reviews:
        yield ["reviews"], "a review is the last step and reviews the one before it"
    for key in ("labels", "output_schema", "tools"):
        if getattr(step, key):
            yield [key], f"a review gives its verdict and has no '{key}'"


def _check_schema(schema: dict[str, object]) -> Iterator[Finding]:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        yield ["output_schema", *error.absolute_path], f"no JSON Schema: {error.message}"
        return
    if schema.get("type") != "object":
        yield ["output_schema"], "must describe an object: `type: object`"


def _check_parts(key: str, parts: Sequence[SubAgentSpec | StepSpec], *, taken: Iterable[str]) -> Iterator[Finding]:
    seen = set(taken)
    for place, part in enumerate(parts):
        if part.name in seen:
            yield [key, place, "name"], f"the name '{part.name}' is taken"
        if part.name in _RESERVED_NODES or part.name.endswith("_tools"):
            yield [key, place, "name"], f"the name '{part.name}' is Flotilla's own; choose another one"
        seen.add(part.name)
        yield from _check_tools(part.tools, [key, place, "tools"])


def _check_tools(tools: Sequence[str], location: Location) -> Iterator[Finding]:
    for place, tool in enumerate(tools):
        if tool in MEMORY_TOOLS:
            yield [*location, place], f"'{tool}' is memory's: write `memory: {{tools: true}}`"
        if tool in tools[:place]:
            yield [*location, place], f"'{tool}' stands twice"
