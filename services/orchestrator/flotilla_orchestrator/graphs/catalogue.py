"""The agents of this process: what their files say, and their graphs, compiled once a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from langgraph.pregel import Pregel

CompiledGraph = Pregel[Any, Any, Any, Any]
"""A graph whose context is a RunContext; LangGraph's types admit no Protocol there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far one run of an agent may go."""

    max_steps: int
    """Model calls of one run, inner ones too; the last one is made without tools, so that it answers."""
    max_output_tokens: int
    """Tokens of one reply."""
    time_limit_s: float


@dataclass(frozen=True, slots=True)
class Release:
    """An agent's immutable, content-hashed form."""

    agent: str
    description: str
    pattern: str
    """react, supervisor, pipeline; of somebody's own code, graph (LangChain's messages) or native (ours)."""
    hash: str
    """SHA-256 over the canonical spec and its prompts, 64 hex digits."""
    tools: Sequence[str]
    """Names of the permitted server-side tools; `search_memory` and `remember` among them when the agent has memory."""
    recalls: bool
    """Whether long-term memory is read before the run."""
    commits_turns: bool
    """Whether finished turns go to long-term memory."""
    observe_ratio: float
    """Share of the runs that the evaluator is shown, 0 to 1."""
    limits: Limits
    created_at: datetime


class AgentCatalogue(Protocol):
    """Finds releases and their compiled graphs."""

    def list_active(self) -> Sequence[Release]:
        """Returns the active release of every agent, ordered by name."""
        ...

    async def resolve(self, agent: str) -> Release:
        """Returns the release that "name" or "name@hash" means. Raises NotFoundError and UnavailableError."""
        ...

    def graph(self, release: Release) -> CompiledGraph:
        """Returns the release's compiled graph, without a checkpointer; its state has a `messages` channel.

        The channel holds MessageDicts, or LangChain's messages (see `graphs.foreign`) when the pattern is "graph".
        """
        ...
