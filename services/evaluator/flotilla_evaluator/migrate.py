"""`python -m flotilla_evaluator.migrate`: brings the schema `evaluator` up to date, as its owner."""

from __future__ import annotations

from flotilla_common.migrations import main

if __name__ == "__main__":
    main(package="flotilla_evaluator", schema="evaluator")
