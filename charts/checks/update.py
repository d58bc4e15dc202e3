"""Brings up to date what is derived in the chart, or with --check says what is not: exit status 1.

The chart's copy of the agents, the table of values in its README, the dashboard, and the golden renders.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import dashboard
import yaml
from render import CASES, CHART, GOLDEN, ROOT, manifests
from values_reference import read_values, table

AGENTS = ROOT / "agents"
_FIXED_AGENT = "agents: {builtIn: false, files: {fixed.yaml: 'name: fixed'}}"
_LONGEST_TEXT = 600
_SERVED = (".yaml", ".yml", ".md")
_BEGIN, _END = "<!-- values: made from values.yaml -->", "<!-- /values -->"


def main(arguments: list[str]) -> None:
    """Writes or compares every derived file."""
    is_check = arguments == ["--check"]
    kept: set[Path] = set()
    stale: list[Path] = []
    for file, text in derived():
        kept.add(file)
        if not file.exists() or file.read_text() != text:
            stale.append(file)
            if not is_check:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    extra = [file for file in existing() if file not in kept]
    if is_check:
        for file in (*stale, *extra):
            sys.stderr.write(f"{file.relative_to(ROOT)} is not up to date; run: make chart\n")
        sys.exit(1 if stale or extra else 0)
    for file in extra:
        file.unlink()


def derived() -> Iterator[tuple[Path, str]]:
    """Yields every derived file with its text; the renders last, because they show the others."""
    for file in sorted(AGENTS.rglob("*")):
        if file.suffix in _SERVED:
            yield CHART / "agents" / file.relative_to(AGENTS), file.read_text()
    yield CHART / "README.md", _readme()
    yield CHART / "files/overview.json", dashboard.draw()
    for name in CASES:
        yield GOLDEN / f"{name}.yaml", golden(name)


def golden(case: str) -> str:
    """Returns what a case renders to, in a fixed order, with a hash in place of long texts and an agent that stays."""
    found = manifests(case, values=_FIXED_AGENT)
    found.sort(key=lambda manifest: (manifest["kind"], manifest["metadata"]["name"]))
    return yaml.safe_dump_all([_shortened(manifest) for manifest in found], sort_keys=False, width=1000)


def _shortened(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _shortened(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_shortened(value) for value in tree]
    is_long = isinstance(tree, str) and len(tree) > _LONGEST_TEXT
    return f"sha256:{sha256(tree.encode()).hexdigest()}" if is_long else tree


def existing() -> Iterator[Path]:
    """Yields the files that are there and may only be there if they are derived."""
    for folder in (CHART / "agents", GOLDEN):
        yield from (file for file in folder.rglob("*") if file.is_file())


def _readme() -> str:
    head, _, rest = (CHART / "README.md").read_text().partition(_BEGIN)
    tail = rest.partition(_END)[2]
    return f"{head}{_BEGIN}\n{table(read_values(CHART / 'values.yaml'))}\n{_END}{tail}"


if __name__ == "__main__":
    main(sys.argv[1:])
