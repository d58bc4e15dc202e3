"""Stores: what the orchestrator keeps in Postgres."""
