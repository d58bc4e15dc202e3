"""`python -m flotilla_tool.migrate`: brings the schema `tool` up to date, as its owner."""

from __future__ import annotations

from flotilla_common.migrations import main

if __name__ == "__main__":
    main(package="flotilla_tool", schema="tool")
