"""`python -m flotilla_memory.migrate`: brings the schema `memory` up to date, as its owner."""

from __future__ import annotations

from flotilla_common.migrations import main

if __name__ == "__main__":
    main(package="flotilla_memory", schema="memory")
