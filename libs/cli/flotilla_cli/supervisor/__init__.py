"""Runs child processes: starts them, watches them, starts them again, and leaves none behind."""
