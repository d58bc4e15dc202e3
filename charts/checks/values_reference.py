"""Reads values.yaml with its comments: every value, its default and what it is for, as a table in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][A-Za-z0-9_-]*):(?: |$)")
_LONGEST_DEFAULT = 90


@dataclass(frozen=True, slots=True)
class Value:
    """One documented value."""

    path: str
    default: Any
    description: str

    def row(self) -> str:
        """Returns its line of the table."""
        default = json.dumps(self.default, ensure_ascii=False).replace("|", "\\|")
        if len(default) > _LONGEST_DEFAULT:
            default = "see values.yaml"
        return f"| `{self.path}` | {self.description} | `{default}` |"


def read_values(file: Path) -> list[Value]:
    """Returns the documented values in the file's order."""
    tree = yaml.safe_load(file.read_text())
    return [Value(path, _at(tree, path), description) for path, description in _documented(file.read_text())]


def undocumented(file: Path) -> list[str]:
    """Returns the paths of values that neither themselves nor a parent are documented."""
    known = {value.path for value in read_values(file)}
    leaves = _leaves(yaml.safe_load(file.read_text()))
    return [leaf for leaf in leaves if not any(leaf == path or leaf.startswith(f"{path}.") for path in known)]


def table(values: list[Value]) -> str:
    """Returns the table."""
    return "\n".join(["| value | what it is | default |", "| --- | --- | --- |", *(value.row() for value in values)])


def _documented(text: str) -> Iterator[tuple[str, str]]:
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("# ") and comment:
            comment.append(stripped.removeprefix("# "))
        elif match := _KEY.match(line):
            indent = len(match["indent"])
            path = [*((depth, key) for depth, key in path if depth < indent), (indent, match["key"])]
            if comment:
                yield ".".join(key for _, key in path), " ".join(comment)
            comment = []
        else:
            comment = []


def _leaves(tree: Any, path: str = "") -> Iterator[str]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree[key]
    return tree
