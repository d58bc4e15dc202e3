"""The orchestrator: runs agents, and owns threads, runs, checkpoints and the event log."""
