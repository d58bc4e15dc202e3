"""Graphs: the patterns that agents are made of, and the agents' files."""
