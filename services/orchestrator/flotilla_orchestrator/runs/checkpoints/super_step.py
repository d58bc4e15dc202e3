"""What one task of LangGraph's loop makes of a checkpoint, in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.constants import START

CHECKPOINT_VERSION = 4
"""The shape of checkpoints (`v`) that is written and understood here."""
_TRIGGER_OF = "branch:to:"


@dataclass(frozen=True, slots=True)
class Task:
    """The only task of a super-step; one without a trigger applies the input."""

    name: str
    trigger: str = ""


def no_checkpoint() -> Checkpoint:
    """Returns what a thread's first step begins with."""
    return Checkpoint(
        v=CHECKPOINT_VERSION,
        id="",
        ts="",
        channel_values={},
        channel_versions={},
        versions_seen={},
        updated_channels=None,
    )


def trigger_of(node: str) -> str:
    """Returns the channel whose write has a node run next."""
    return f"{_TRIGGER_OF}{node}"


def is_momentary(channel: str) -> bool:
    """Tells whether a channel's value is gone after the step that reads it."""
    return channel == START or channel.startswith(_TRIGGER_OF)


def follow(before: Checkpoint, task: Task, written: Mapping[str, Any], channels: Sequence[str]) -> Checkpoint:
    """Returns the checkpoint after a task wrote these values, reduced already; it has no id and time yet.

    channels: the graph's, in its order.

    Mirrors langgraph.pregel._algo.apply_writes and _checkpoint.create_checkpoint for channels that hold one value.
    """
    values = before["channel_values"]
    versions: dict[str, int] = {**cast(Mapping[str, int], before["channel_versions"])}
    version = max(versions.values(), default=0) + 1
    seen = dict(before["versions_seen"])
    seen[task.name] = dict(seen.get(task.name, {}))
    gone: set[str] = set()
    if task.trigger:
        seen[task.name][task.trigger] = versions[task.trigger]
        gone = {name for name in values if is_momentary(name) and name not in written}
    versions.update(dict.fromkeys([*written, *gone], version))
    after = {**values, **written}
    return Checkpoint(
        v=CHECKPOINT_VERSION,
        id="",
        ts="",
        channel_values={name: after[name] for name in channels if name in after and name not in gone},
        channel_versions={**versions},
        versions_seen=seen,
        updated_channels=sorted(written),
    )


def stamped(checkpoint: Checkpoint, step: int) -> Checkpoint:
    """Returns a checkpoint with an id and the time; ids rise with time, whoever mints them."""
    return {**checkpoint, "id": str(uuid6(clock_seq=step)), "ts": datetime.now(UTC).isoformat()}
