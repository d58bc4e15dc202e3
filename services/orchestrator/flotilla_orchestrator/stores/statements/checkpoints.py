"""Checkpoints and pending writes outside the run path: reads, state edits, copies, deletes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from flotilla_orchestrator.model import CheckpointRow
from flotilla_orchestrator.stores.run_store import PendingWrites


def row_arrays(rows: Sequence[CheckpointRow]) -> Mapping[str, Any]:
    """Returns checkpoints as arrays, one a column, each name with the prefix `c_`."""
    return {
        "c_thread_id": [row.thread_id for row in rows],
        "c_ns": [row.namespace for row in rows],
        "c_checkpoint_id": [row.checkpoint_id for row in rows],
        "c_parent_id": [row.parent_id for row in rows],
        "c_run_id": [row.run_id for row in rows],
        "c_state": [row.state for row in rows],
        "c_metadata": [row.metadata.decode() for row in rows],
        "c_next_nodes": [orjson.dumps(list(row.next_nodes)).decode() for row in rows],
    }


def write_arrays(pending: Sequence[PendingWrites]) -> Mapping[str, Any]:
    """Returns pending writes as arrays, one a column, each name with the prefix `w_`."""
    # One statement may not touch a row twice; the last write to a special channel (index < 0) is the one that counts.
    rows = {
        (task.thread_id, task.namespace, task.checkpoint_id, task.task_id, index): (task, channel, value)
        for task in pending
        for index, channel, value in task.writes
    }
    return {
        "w_thread_id": [key[0] for key in rows],
        "w_ns": [key[1] for key in rows],
        "w_checkpoint_id": [key[2] for key in rows],
        "w_task_id": [key[3] for key in rows],
        "w_idx": [key[4] for key in rows],
        "w_task_path": [task.task_path for task, _, _ in rows.values()],
        "w_channel": [channel for _, channel, _ in rows.values()],
        "w_run_id": [task.run_id for task, _, _ in rows.values()],
        "w_value": [value for _, _, value in rows.values()],
    }
