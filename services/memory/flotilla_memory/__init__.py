"""The memory service: keeps what was said and recalls it within one person."""
