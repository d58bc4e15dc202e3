"""Makes agents again out of the releases that are kept."""

from __future__ import annotations

import logging
from pathlib import Path

import orjson
from flotilla_common.errors import NotFoundError
from pydantic import ValidationError

from flotilla_orchestrator.graphs.foreign import GraphImportError, import_graph, source_of
from flotilla_orchestrator.graphs.loader import LoadedAgent
from flotilla_orchestrator.graphs.prompt import compile_prompt
from flotilla_orchestrator.graphs.spec import PATTERNS, GraphAgent
from flotilla_orchestrator.stores.release_store import StoredRelease

_log = logging.getLogger(__name__)


def restore(stored: StoredRelease, *, folder: Path) -> LoadedAgent:
    """Returns the agent of a stored release; a graph of somebody's own code has to lie where it lay.

    Raises NotFoundError when this process cannot make it: its code is gone, or its spec is of another version of ours.
    """
    content = orjson.loads(stored.content)
    try:
        spec = PATTERNS.get(content["pattern"], GraphAgent).model_validate(content["spec"])
        graph = import_graph(spec.graph, beside=folder) if isinstance(spec, GraphAgent) else None
    except (ValidationError, GraphImportError) as error:
        message = f"The release {stored.agent}@{stored.hash[:12]} cannot be made here any more: {error}"
        raise NotFoundError(message, reason="release_not_found", field="agent") from error
    texts: dict[str, str] = content["contents"]
    prompts = {}
    if isinstance(spec, GraphAgent):
        if source_of(spec.graph).decode(errors="replace") != texts[spec.graph]:
            _log.warning(
                "a release goes on with newer code", extra={"agent": stored.agent, "release": stored.hash[:12]}
            )
    else:
        fixed = {"agent": spec.name, **spec.variables}
        prompts = {name: compile_prompt(text, fixed) for name, text in texts.items()}
    return LoadedAgent(folder, spec, prompts, graph, stored.content, stored.hash, stored.created_at.timestamp())
