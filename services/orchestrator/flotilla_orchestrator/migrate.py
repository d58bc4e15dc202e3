"""`python -m flotilla_orchestrator.migrate`: brings the orchestrator's schema up to date, as its owner."""

from flotilla_common.migrations import main

if __name__ == "__main__":
    main(package="flotilla_orchestrator", schema="orchestrator")
