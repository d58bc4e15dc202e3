"""The registry refuses at start what could not work later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from flotilla_tool.model import ToolArguments, ToolSpec
from flotilla_tool.service import arguments_digest
from flotilla_tool.tools.calculator import Calculator
from flotilla_tool.tools.registry import ToolRegistry
from flotilla_tool.tools.runner import storable
from flotilla_tool.tools.tool import Invocation


@dataclass
class NamedTool:
    """A tool that does nothing."""

    name: str
    parameters: dict[str, Any]

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, "", self.parameters, timeout_s=1, idempotent=True, read_only=True)

    async def invoke(self, arguments: ToolArguments, invocation: Invocation) -> str:
        return ""


def test_registry_refuses_two_tools_of_one_name() -> None:
    with pytest.raises(ValueError, match="same name"):
        ToolRegistry([Calculator(), Calculator()])


@pytest.mark.parametrize("name", ["", "with space", "x" * 65, "dot.ted"])
def test_registry_refuses_a_name_that_models_do_not_take(name: str) -> None:
    with pytest.raises(ValueError, match="not a tool's name"):
        ToolRegistry([NamedTool(name, {})])


def test_registry_refuses_a_wrong_schema() -> None:
    with pytest.raises(jsonschema.SchemaError):
        ToolRegistry([NamedTool("x", {"type": "nonsense"})])


def test_arguments_digest_is_of_the_value_not_of_its_writing() -> None:
    assert arguments_digest(b'{"a":1,"b":[2]}') == arguments_digest(b' {"b": [2], "a": 1}')
    assert arguments_digest(b'{"a":1}') != arguments_digest(b'{"a":2}')
    assert arguments_digest(b"{") != arguments_digest(b"}")


def test_storable_cuts_at_a_whole_character_and_takes_what_postgres_does_not() -> None:
    assert storable("a\x00b", 10) == "ab"
    assert storable("\ud800", 10) == "?"
    assert storable("ééé", 3) == "é… [cut: 6 bytes, shown are 3]"
