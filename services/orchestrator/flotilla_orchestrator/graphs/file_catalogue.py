"""The agents of a folder of files, read once at start."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from flotilla_common.errors import NotFoundError

from flotilla_orchestrator.graphs.agents import MEMORY_TOOLS, build_graph, permitted_tools
from flotilla_orchestrator.graphs.catalogue import CompiledGraph, Limits, Release
from flotilla_orchestrator.graphs.foreign import is_native
from flotilla_orchestrator.graphs.loader import LoadedAgent, load_agents
from flotilla_orchestrator.graphs.spec import GraphAgent

_SHORTEST_HASH = 8
_STEPS_PER_CALL = 2
"""Super-steps a model call takes at most: its own and its tools'."""
_OTHER_STEPS = 10


class FileCatalogue:
    """Implements AgentCatalogue. It knows the releases that its files are, and no earlier ones."""

    def __init__(self, agents: Sequence[LoadedAgent]) -> None:
        self._agents = {agent.hash: agent for agent in agents}
        self._releases = {agent.spec.name: to_release(agent) for agent in agents}
        self._graphs: dict[str, CompiledGraph] = {}

    @classmethod
    def load(cls, folder: Path) -> FileCatalogue:
        """Reads the folder. Raises AgentFilesError with everything that is wrong."""
        return cls(load_agents(folder))

    def list_active(self) -> Sequence[Release]:
        """Returns the active release of every agent, ordered by name."""
        return [self._releases[name] for name in sorted(self._releases)]

    def resolve(self, agent: str) -> Release:
        """Returns the release that "name" or "name@hash" means; a hash may be cut to 8 digits. Raises NotFoundError."""
        name, at, digits = agent.partition("@")
        release = self._releases.get(name)
        if release is None:
            raise NotFoundError(f"There is no agent '{name}'.", reason="agent_not_found", field="agent")
        if at and (len(digits) < _SHORTEST_HASH or not release.hash.startswith(digits.lower())):
            raise NotFoundError(f"There is no release '{agent}'.", reason="release_not_found", field="agent")
        return release

    def graph(self, release: Release) -> CompiledGraph:
        """Returns the release's graph, compiled the first time it is asked for. Raises NotFoundError."""
        graph = self._graphs.get(release.hash)
        if graph is None:
            graph = self._graphs[release.hash] = self._compile(release)
        return graph

    def _compile(self, release: Release) -> CompiledGraph:
        agent = self._agents.get(release.hash)
        if agent is None:
            raise NotFoundError(f"The release {release.hash} is not here any more.", reason="release_not_found")
        if isinstance(agent.spec, GraphAgent):
            if agent.graph is None:
                raise AssertionError("a graph agent is loaded with its graph")
            compiled = agent.graph
        else:
            compiled = build_graph(agent.spec, agent.prompts).compile(name=release.agent)
        # The limit that people set is on model calls; LangGraph's, on super-steps, only has to lie beyond it.
        limit = release.limits.max_steps * _STEPS_PER_CALL + _OTHER_STEPS
        return compiled.with_config(recursion_limit=limit)


def to_release(agent: LoadedAgent) -> Release:
    """Returns what the engine needs to know about an agent."""
    spec = agent.spec
    tools = _graph_tools(spec) if isinstance(spec, GraphAgent) else permitted_tools(spec)
    return Release(
        agent=spec.name,
        description=spec.description,
        pattern="native" if agent.graph is not None and is_native(agent.graph) else spec.pattern,
        hash=agent.hash,
        tools=tuple(sorted(tools)),
        recalls=spec.memory.recall,
        commits_turns=spec.memory.commit,
        observe_ratio=spec.observe_ratio,
        limits=Limits(
            max_steps=spec.limits.max_steps,
            max_output_tokens=spec.limits.max_output_tokens,
            time_limit_s=spec.limits.time_limit_s,
        ),
        created_at=datetime.fromtimestamp(agent.modified_at, UTC),
    )


def _graph_tools(spec: GraphAgent) -> frozenset[str]:
    return frozenset(spec.tools) | (MEMORY_TOOLS if spec.memory.tools else frozenset())
