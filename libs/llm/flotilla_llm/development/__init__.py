"""The development model: a deterministic, OpenAI-compatible server in the box; it is no quality signal."""
