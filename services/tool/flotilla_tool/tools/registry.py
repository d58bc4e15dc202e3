"""The tools that exist, each with its schema compiled once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from flotilla_tool.model import ToolArguments, ToolSpec
from flotilla_tool.tools.tool import Tool, ToolError

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LARGEST_ARGUMENTS = 256 * 1024
_LONGEST_COMPLAINT = 500


@dataclass(frozen=True, slots=True)
class RegisteredTool:
    """A tool with its compiled schema."""

    tool: Tool
    validator: Draft202012Validator

    @property
    def spec(self) -> ToolSpec:
        """Returns the tool's specification."""
        return self.tool.spec

    def read_arguments(self, arguments_json: bytes) -> ToolArguments:
        """Returns validated arguments. Raises ToolError (invalid_arguments) with a sentence that a model can act on."""
        arguments = _parse(arguments_json)
        error = best_match(self.validator.iter_errors(arguments))
        if error is not None:
            where = error.json_path.removeprefix("$").removeprefix(".") or "arguments"
            raise ToolError(f"{where}: {error.message}"[:_LONGEST_COMPLAINT], reason="invalid_arguments")
        return arguments


class ToolRegistry:
    """Finds tools by name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        registered = [_register(tool) for tool in tools]
        self._tools = {entry.spec.name: entry for entry in sorted(registered, key=lambda entry: entry.spec.name)}
        if len(self._tools) != len(registered):
            raise ValueError("two tools have the same name")

    def __iter__(self) -> Iterator[RegisteredTool]:
        """Yields the tools ordered by name."""
        return iter(self._tools.values())

    def get(self, name: str) -> RegisteredTool | None:
        """Returns the tool of this name, or None."""
        return self._tools.get(name)


def _register(tool: Tool) -> RegisteredTool:
    if not _NAME.fullmatch(tool.spec.name):
        raise ValueError(f"{tool.spec.name!r} is not a tool's name: {_NAME.pattern}")
    Draft202012Validator.check_schema(tool.spec.parameters)
    return RegisteredTool(tool, Draft202012Validator(tool.spec.parameters))


def _parse(arguments_json: bytes) -> ToolArguments:
    if len(arguments_json) > _LARGEST_ARGUMENTS:
        raise ToolError(f"The arguments have more than {_LARGEST_ARGUMENTS} bytes.", reason="invalid_arguments")
    try:
        arguments = orjson.loads(arguments_json or b"{}")
    except orjson.JSONDecodeError as error:
        raise ToolError(f"The arguments are not JSON: {error}.", reason="invalid_arguments") from None
    if not isinstance(arguments, dict):
        raise ToolError("The arguments are not a JSON object.", reason="invalid_arguments")
    return arguments
