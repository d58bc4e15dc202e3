"""Clients: the peers that the orchestrator calls."""
