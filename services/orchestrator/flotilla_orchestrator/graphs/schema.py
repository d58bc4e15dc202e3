"""Writes the JSON Schema of agents' files: `python -m flotilla_orchestrator.graphs.schema agents/agent.schema.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from flotilla_orchestrator.graphs.spec import json_schema


def schema_text() -> str:
    """Returns the published file's text."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
