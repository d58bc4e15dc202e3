"""Turns a YAML file into an agent's spec, and what pydantic refuses into problems with lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flotilla_orchestrator.graphs.positions import Problem, YamlFile, did_you_mean
from flotilla_orchestrator.graphs.spec import PARTS, PATTERNS, AgentSpec, GraphAgent


def parse_spec(yaml_file: YamlFile, problems: list[Problem]) -> AgentSpec | None:
    """Returns the spec, or adds what is wrong and returns None."""
    model = _model_of(yaml_file, problems)
    if model is None:
        return None
    try:
        return model.model_validate(yaml_file.data)
    except ValidationError as error:
        problems.extend(_problem(yaml_file, model, detail) for detail in error.errors(include_url=False))
        return None


def _model_of(yaml_file: YamlFile, problems: list[Problem]) -> type[AgentSpec] | None:
    """Returns the model that the file's pattern asks for."""
    data: Mapping[str, Any] = yaml_file.data
    pattern = data.get("pattern")
    if "graph" in data and pattern is None:
        return GraphAgent
    if "graph" in data:
        problems.append(yaml_file.problem(["pattern"], "a file has either `pattern` or `graph`", at_key=True))
        return None
    if pattern is None:
        problems.append(yaml_file.problem([], f"`pattern` is missing: {', '.join(PATTERNS)}; or `graph`"))
        return None
    if pattern not in PATTERNS:
        hint = did_you_mean(str(pattern), PATTERNS) or f"; there are {', '.join(PATTERNS)}"
        problems.append(yaml_file.problem(["pattern"], f"there is no pattern '{pattern}'{hint}"))
        return None
    return PATTERNS[pattern]


def _problem(yaml_file: YamlFile, model: type[AgentSpec], detail: ErrorDetails) -> Problem:
    location = detail["loc"]
    match detail["type"]:
        case "extra_forbidden":
            hint = did_you_mean(str(location[-1]), _keys_at(model, location))
            return yaml_file.problem(location, f"unknown key '{location[-1]}'{hint}", at_key=True)
        case "missing":
            return yaml_file.problem(location[:-1], f"'{location[-1]}' is missing")
        case "string_pattern_mismatch":
            wanted = detail["ctx"]["pattern"]
            return yaml_file.problem(location, f"{detail['input']!r} does not look right: it must match {wanted}")
        case _:
            return yaml_file.problem(location, detail["msg"].removeprefix("Value error, "))


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Returns the keys that the mapping at a location knows."""
    part = model if len(location) == 1 else PARTS.get(str(location[0]), model)
    return list(part.model_fields)
