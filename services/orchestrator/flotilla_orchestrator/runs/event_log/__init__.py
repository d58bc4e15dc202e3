"""Runs' event logs: what is written in them, by whom, and how they are read."""
