"""The agents of a folder of files, read once at start, and the earlier releases that were asked for since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from flotilla_common.errors import NotFoundError

from flotilla_orchestrator.graphs.agents import MEMORY_TOOLS, build_graph, permitted_tools
from flotilla_orchestrator.graphs.catalogue import CompiledGraph, Limits, Release
from flotilla_orchestrator.graphs.foreign import is_native
from flotilla_orchestrator.graphs.loader import LoadedAgent, load_agents
from flotilla_orchestrator.graphs.spec import GraphAgent

SHORTEST_HASH = 8
"""Digits that name a release."""
_STEPS_PER_CALL = 2
"""Super-steps a model call takes at most: its own and its tools'."""
_OTHER_STEPS = 10


class FileCatalogue:
    """Knows the releases that its files are, and those that it was given."""

    def __init__(self, agents: Sequence[LoadedAgent], *, folder: Path) -> None:
        self.folder = folder
        self._agents = {agent.hash: agent for agent in agents}
        self._releases = {agent.hash: to_release(agent) for agent in agents}
        self._active = {agent.spec.name: agent.hash for agent in agents}
        self._graphs: dict[str, CompiledGraph] = {}

    @classmethod
    def load(cls, folder: Path) -> FileCatalogue:
        """Reads the folder. Raises AgentFilesError with everything that is wrong."""
        return cls(load_agents(folder), folder=folder)

    @property
    def agents(self) -> Sequence[LoadedAgent]:
        """All agents that are known here, in full."""
        return list(self._agents.values())

    def list_active(self) -> Sequence[Release]:
        """Returns the active release of every agent, ordered by name."""
        return [self._releases[self._active[name]] for name in sorted(self._active)]

    def resolve(self, agent: str) -> Release:
        """Returns the release that "name" or "name@hash" means; a hash may be cut to 8 digits. Raises NotFoundError."""
        name, at, digits = agent.partition("@")
        if not at and name in self._active:
            return self._releases[self._active[name]]
        if not at:
            raise NotFoundError(f"There is no agent '{name}'.", reason="agent_not_found", field="agent")
        if len(digits) >= SHORTEST_HASH:
            for release in self._releases.values():
                if release.agent == name and release.hash.startswith(digits.lower()):
                    return release
        raise NotFoundError(f"There is no release '{agent}'.", reason="release_not_found", field="agent")

    def admit(self, agent: LoadedAgent) -> Release:
        """Makes a release known that is not among the files; it does not become active."""
        self._agents.setdefault(agent.hash, agent)
        return self._releases.setdefault(agent.hash, to_release(agent))

    def date(self, created_at: Mapping[str, datetime]) -> None:
        """Notes when releases were made, by hash."""
        for hash_, moment in created_at.items():
            self._releases[hash_] = replace(self._releases[hash_], created_at=moment)

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
