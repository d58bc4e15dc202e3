"""The gateway: the public door."""
