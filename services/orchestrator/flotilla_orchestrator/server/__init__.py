"""The edge: flotilla.orchestrator.v1 to plain values and back."""
