"""Releases: kept for good, so that a run finishes on the one it began with, whatever the files say by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release in full."""

    agent: str
    hash: str
    """SHA-256 of the content, 64 hex digits."""
    content: str
    """JSON: the pattern, the spec, and the texts of its prompts or the source of its graph."""
    created_at: datetime


class ReleaseStore(Protocol):
    """Keeps releases; they belong to the platform and to no tenant."""

    async def add(self, releases: Sequence[StoredRelease]) -> Mapping[str, datetime]:
        """Keeps the releases that are not there yet; returns by hash when each one was made, as the store has it."""
        ...

    async def find(self, agent: str, hash_prefix: str) -> StoredRelease | None:
        """Returns the agent's release whose hash begins so; None when there is none, or more than one."""
        ...
