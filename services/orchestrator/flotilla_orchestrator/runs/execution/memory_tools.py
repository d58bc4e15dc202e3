"""The two tools that the orchestrator executes itself, through memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from flotilla_common.errors import InvalidArgumentError
from flotilla_common.request import acting_as, current_identity

from flotilla_orchestrator.clients.memory import MemoryClient
from flotilla_orchestrator.clients.tool import ToolInvocation, ToolResult, ToolSpec

SEARCH_MEMORY = ToolSpec(
    name="search_memory",
    description="Searches what is remembered about this person from earlier conversations.",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for, in a few words."}},
        "required": ["query"],
        "additionalProperties": False,
    },
    is_read_only=True,
)
REMEMBER = ToolSpec(
    name="remember",
    description="Remembers one statement about this person for later conversations.",
    parameters={
        "type": "object",
        "properties": {"text": {"type": "string", "description": "The statement, as one sentence."}},
        "required": ["text"],
        "additionalProperties": False,
    },
)
MEMORY_TOOLS: Mapping[str, ToolSpec] = {tool.name: tool for tool in (SEARCH_MEMORY, REMEMBER)}


class MemoryTools:
    """Executes `search_memory` and `remember` for one run."""

    def __init__(self, memory: MemoryClient, *, run_id: UUID) -> None:
        self._memory = memory
        self._run_id = run_id

    async def invoke(self, call: ToolInvocation) -> ToolResult:
        """Executes one call; wrong arguments are the model's to mend. Raises memory's errors."""
        try:
            text = _argument(call, "query" if call.name == SEARCH_MEMORY.name else "text")
        except InvalidArgumentError as error:
            return ToolResult(call.tool_call_id, error.message, "invalid_arguments")
        if call.name == SEARCH_MEMORY.name:
            return ToolResult(call.tool_call_id, await self._search(text))
        with acting_as(current_identity(), idempotency_key=call.idempotency_key):
            await self._memory.remember(text, run_id=self._run_id)
        return ToolResult(call.tool_call_id, "Remembered.")

    async def _search(self, query: str) -> str:
        found = await self._memory.search(query)
        return "\n".join(f"- {text}" for text in found) or "Nothing is remembered about that."


def _argument(call: ToolInvocation, name: str) -> str:
    try:
        arguments: Any = orjson.loads(call.args_json)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentError("The arguments are not valid JSON.") from error
    value = arguments.get(name) if isinstance(arguments, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgumentError(f"The argument {name} must be a text that is not empty.")
    return value
