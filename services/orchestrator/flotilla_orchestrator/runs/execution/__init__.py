"""One run, from its work to its outcome."""
