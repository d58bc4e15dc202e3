"""What an agent's file may say; the published JSON Schema is made from these models."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

_SECONDS = {"s": 1, "m": 60, "h": 3600}

AgentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
NodeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
RouteName = Annotated[str, Field(min_length=1, max_length=64)]
PromptFile = Annotated[str, Field(min_length=1, description="A prompt's file, relative to this one.")]
Ratio = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Routes = Annotated[list[RouteName], Field(min_length=1, description="Model routes in the order of fallback.")]
Tools = Annotated[list[ToolName], Field(description="The server-side tools it may call; every other one is refused.")]


class _Part(BaseModel):
    """A mapping in the file: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class MemorySpec(_Part):
    """What the agent does with the long-term memory of the person it talks to."""

    recall: bool = True
    """Reads it before each run."""
    commit: bool = True
    """Gives it each finished turn."""
    tools: bool = False
    """Offers the tools `search_memory` and `remember` to whoever answers."""


class LimitsSpec(_Part):
    """How far one run may go."""

    max_steps: Annotated[int, Field(ge=1, le=100)] = 10
    """Model calls of one run, inner ones too. The last one gets no tools, so that it answers."""
    max_output_tokens: Annotated[int, Field(ge=1)] = 4096
    """Tokens of one reply."""
    time_limit: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}(s|m|h)$")] = "5m"
    """A number with a unit: 90s, 5m, 1h."""

    @property
    def time_limit_s(self) -> float:
        """The time limit in seconds."""
        return float(self.time_limit[:-1]) * _SECONDS[self.time_limit[-1]]


class _Agent(_Part):
    """What every agent's file says."""

    name: AgentName
    """What clients give as the model or assistant."""
    description: Annotated[str, Field(min_length=1, max_length=500)]
    """One sentence for those who choose an agent."""
    memory: MemorySpec = MemorySpec()
    limits: LimitsSpec = LimitsSpec()
    observe_ratio: Ratio = 0.0
    """Share of the runs that the evaluator is shown."""


class _Prompted(_Agent):
    """An agent whose model calls are ours to make."""

    model: Routes = ["default"]
    temperature: Temperature | None = None
    """Unset leaves the provider's default; a caller's own temperature goes before."""
    variables: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = {}
    """Values for `{{name}}` in the prompts."""


class ReactAgent(_Prompted):
    """One model that may call tools until it answers."""

    pattern: Literal["react"]
    prompt: PromptFile
    tools: Tools = []


class SubAgentSpec(_Part):
    """One of a supervisor's agents."""

    name: NodeName
    description: Annotated[str, Field(min_length=1, max_length=500)]
    """What it is good at: the supervisor chooses by this sentence."""
    prompt: PromptFile
    tools: Tools = []
    model: Routes | None = None
    """Unset means the agent's."""
    temperature: Temperature | None = None
    """Unset means the agent's."""


class SupervisorAgent(_Prompted):
    """A model that hands the work to sub-agents, one after the other, until one of them answers."""

    pattern: Literal["supervisor"]
    prompt: PromptFile
    agents: Annotated[list[SubAgentSpec], Field(min_length=1, max_length=20)]
    answer: NodeName | None = None
    """The sub-agent whose reply goes to the caller; unset means that the supervisor answers itself."""
    max_hand_offs: Annotated[int, Field(ge=1, le=50)] = 4
    """After so many pieces of work the answer is written with what there is."""


class StepSpec(_Part):
    """One step of a pipeline: plain text, a label, an object, or a review."""

    name: NodeName
    """Later prompts read the step's result as `{{name}}`."""
    prompt: PromptFile
    tools: Tools = []
    labels: Annotated[dict[Annotated[str, Field(min_length=1, max_length=64)], str], Field(min_length=2)] | None = None
    """Label → when it fits. The step's result is one of them; a reply that is none of them counts as the last."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema of an object. The step's result is such an object, as JSON."""
    reviews: NodeName | None = None
    """The step before, whose reply is held back until this one approves it; refused, it is written once more."""
    model: Routes | None = None
    """Unset means the agent's."""
    temperature: Temperature | None = None
    """Unset means the agent's."""


class PipelineAgent(_Prompted):
    """Steps in a fixed order; the reply of the last one that is no review goes to the caller."""

    pattern: Literal["pipeline"]
    steps: Annotated[list[StepSpec], Field(min_length=1, max_length=20)]


class GraphAgent(_Agent):
    """A LangGraph graph from your own code, with its own models and prompts."""

    pattern: ClassVar[Literal["graph"]] = "graph"
    graph: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """`module:attribute`: a graph, compiled or not, or a function without arguments that returns one."""
    tools: Tools = []

    @field_validator("graph")
    @classmethod
    def _has_clean_module(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", value.partition(":")[0]):
            raise ValueError("the part before the colon must be a module's name")
        return value


PromptedSpec = ReactAgent | SupervisorAgent | PipelineAgent
AgentSpec = PromptedSpec | GraphAgent

PATTERNS: dict[str, type[PromptedSpec]] = {
    "react": ReactAgent,
    "supervisor": SupervisorAgent,
    "pipeline": PipelineAgent,
}
PARTS: dict[str, type[BaseModel]] = {
    "memory": MemorySpec,
    "limits": LimitsSpec,
    "agents": SubAgentSpec,
    "steps": StepSpec,
}
"""The mappings inside a file, by the key they stand under."""


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of an agent's file."""
    adapter: TypeAdapter[Any] = TypeAdapter(AgentSpec)
    schema = adapter.json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Flotilla agent", **schema}
