"""LangGraph's checkpoints on our stores: the saver, the saver of one run, and what a thread's history shows."""
