"""Runs: ownership, execution, streaming and take-over."""
