"""Reads YAML and remembers where everything stands, so that errors can name line and column."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Location = Sequence[str | int]
"""Keys and indexes from the document's root, as pydantic gives them."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong in a file, with the place to look at; line and column count from 1."""

    file: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class FileError(Exception):
    """A file cannot be read at all."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A parsed file: its data, and the nodes that know their lines."""

    path: Path
    data: Any
    root: yaml.Node

    def problem(self, location: Location, message: str, *, at_key: bool = False) -> Problem:
        """Returns a problem at a location, or at the nearest part of it that exists."""
        mark = _find(self.root, location, at_key=at_key).start_mark
        return Problem(self.path, mark.line + 1, mark.column + 1, message)

    def duplicate_keys(self) -> list[Problem]:
        """Returns a problem for each key that stands twice in one mapping: YAML would silently keep the last."""
        return [
            Problem(
                self.path, key.start_mark.line + 1, key.start_mark.column + 1, f"the key '{key.value}' stands twice"
            )
            for key in _duplicates(self.root)
        ]


def read_yaml(path: Path) -> YamlFile:
    """Reads a file that holds one mapping. Raises FileError."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        data = loader.construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        raise FileError(_syntax_problem(path, error)) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FileError(Problem(path, 1, 1, f"cannot be read: {error}")) from error
    if not isinstance(root, yaml.MappingNode):
        raise FileError(Problem(path, 1, 1, "an agent's file is a mapping, beginning with `name:`"))
    return YamlFile(path, data, root)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a hint to the nearest known word, ready to be appended; empty when none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def _syntax_problem(path: Path, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Problem(path, line, column, f"not YAML: {error.problem or error.context}")


def _find(node: yaml.Node, location: Location, *, at_key: bool) -> yaml.Node:
    for depth, part in enumerate(location):
        found = _child(node, part)
        if found is None:
            return node
        key, value = found
        if at_key and depth == len(location) - 1:
            return key
        node = value
    return node


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Returns the key and value nodes under a key, or the item twice under an index."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if str(key.value) == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _duplicates(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return [found for item in node.value for found in _duplicates(item)]
    if not isinstance(node, yaml.MappingNode):
        return []
    seen: set[str] = set()
    found: list[yaml.Node] = []
    for key, value in node.value:
        if str(key.value) in seen:
            found.append(key)
        seen.add(str(key.value))
        found.extend(_duplicates(value))
    return found
