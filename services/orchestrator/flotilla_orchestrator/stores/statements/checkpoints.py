"""Checkpoints and pending writes outside the run path: reads, state edits, copies, deletes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flotilla_common.columns import Blobs, Integers, Texts, Uuids

from flotilla_orchestrator.model import CheckpointRow, PendingWrites

FIND = """
SELECT c.thread_id, c.ns, c.checkpoint_id, c.parent_id, c.run_id, c.state, convert_to(c.metadata::text, 'UTF8'),
  c.next_nodes, w.task_ids, w.channels, w.values
FROM checkpoints c
CROSS JOIN LATERAL (
  SELECT array_agg(task_id ORDER BY task_path COLLATE "C", task_id COLLATE "C", idx) AS task_ids,
    array_agg(channel ORDER BY task_path COLLATE "C", task_id COLLATE "C", idx) AS channels,
    array_agg(value ORDER BY task_path COLLATE "C", task_id COLLATE "C", idx) AS values
  FROM checkpoint_writes w
  WHERE w.thread_id = c.thread_id AND w.ns = c.ns AND w.checkpoint_id = c.checkpoint_id) w
WHERE c.tenant_id = %(tenant_id)s{conditions}
ORDER BY c.checkpoint_id DESC LIMIT %(limit)s
"""
CONDITIONS = {
    "thread_id": " AND c.thread_id = %(thread_id)s",
    "namespace": " AND c.ns = %(namespace)s",
    "checkpoint_id": " AND c.checkpoint_id = %(checkpoint_id)s",
    "before": " AND c.checkpoint_id < %(before)s",
    "metadata": " AND c.metadata @> %(metadata)s::jsonb",
}

PUT = """
INSERT INTO checkpoints (tenant_id, thread_id, ns, checkpoint_id, parent_id, run_id, epoch, state, metadata,
  next_nodes)
SELECT %(tenant_id)s::uuid, thread_id, ns, checkpoint_id, parent_id, run_id, 0, state, metadata::jsonb,
  next_nodes::jsonb
FROM unnest(%(c_thread_id)b::uuid[], %(c_ns)b::text[], %(c_checkpoint_id)b::uuid[], %(c_parent_id)b::uuid[],
  %(c_run_id)b::uuid[], %(c_state)b::bytea[], %(c_metadata)b::text[], %(c_next_nodes)b::text[])
  c(thread_id, ns, checkpoint_id, parent_id, run_id, state, metadata, next_nodes)
ON CONFLICT (thread_id, ns, checkpoint_id) DO UPDATE
  SET state = EXCLUDED.state, metadata = EXCLUDED.metadata, next_nodes = EXCLUDED.next_nodes
"""

PUT_WRITES = """
INSERT INTO checkpoint_writes (tenant_id, thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, epoch,
  value)
SELECT %(tenant_id)s::uuid, thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, 0, value
FROM unnest(%(w_thread_id)b::uuid[], %(w_ns)b::text[], %(w_checkpoint_id)b::uuid[], %(w_task_id)b::text[],
  %(w_idx)b::int[], %(w_task_path)b::text[], %(w_channel)b::text[], %(w_run_id)b::uuid[], %(w_value)b::bytea[])
  w(thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, value)
ON CONFLICT (thread_id, ns, checkpoint_id, task_id, idx) DO UPDATE
  SET channel = EXCLUDED.channel, value = EXCLUDED.value WHERE EXCLUDED.idx < 0
"""

DELETE_THREADS = """
WITH w AS (DELETE FROM checkpoint_writes WHERE tenant_id = %(tenant_id)s AND thread_id = ANY(%(thread_ids)s))
DELETE FROM checkpoints WHERE tenant_id = %(tenant_id)s AND thread_id = ANY(%(thread_ids)s)
"""

DELETE_RUNS = """
WITH c AS (
  DELETE FROM checkpoints WHERE tenant_id = %(tenant_id)s AND run_id = ANY(%(run_ids)s)
  RETURNING thread_id, ns, checkpoint_id)
DELETE FROM checkpoint_writes w USING c
WHERE (w.thread_id, w.ns, w.checkpoint_id) = (c.thread_id, c.ns, c.checkpoint_id)
"""

COPY_THREAD = """
WITH c AS (
  INSERT INTO checkpoints (tenant_id, thread_id, ns, checkpoint_id, parent_id, run_id, epoch, state, metadata,
  next_nodes)
  SELECT tenant_id, %(target)s, ns, checkpoint_id, parent_id, run_id, 0, state, metadata, next_nodes
  FROM checkpoints WHERE tenant_id = %(tenant_id)s AND thread_id = %(source)s
  ON CONFLICT DO NOTHING)
INSERT INTO checkpoint_writes (tenant_id, thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, epoch,
  value)
SELECT tenant_id, %(target)s, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, 0, value
FROM checkpoint_writes WHERE tenant_id = %(tenant_id)s AND thread_id = %(source)s
ON CONFLICT DO NOTHING
"""

PRUNE = """
WITH gone AS (
  DELETE FROM checkpoints c
  WHERE tenant_id = %(tenant_id)s AND thread_id = ANY(%(thread_ids)s) AND EXISTS (
    SELECT FROM checkpoints n
    WHERE n.thread_id = c.thread_id AND n.ns = c.ns AND n.checkpoint_id > c.checkpoint_id)
  RETURNING thread_id, ns, checkpoint_id)
DELETE FROM checkpoint_writes w USING gone g
WHERE (w.thread_id, w.ns, w.checkpoint_id) = (g.thread_id, g.ns, g.checkpoint_id)
"""


def row_arrays(rows: Sequence[CheckpointRow]) -> Mapping[str, Any]:
    """Returns checkpoints as arrays, one a column, each name with the prefix `c_`."""
    return {
        "c_thread_id": Uuids(row.thread_id for row in rows),
        "c_ns": Texts(row.namespace for row in rows),
        "c_checkpoint_id": Uuids(row.checkpoint_id for row in rows),
        "c_parent_id": Uuids(row.parent_id for row in rows),
        "c_run_id": Uuids(row.run_id for row in rows),
        "c_state": Blobs(row.state for row in rows),
        "c_metadata": Texts(row.metadata.decode() for row in rows),
        "c_next_nodes": Texts(orjson.dumps(list(row.next_nodes)).decode() for row in rows),
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
        "w_thread_id": Uuids(key[0] for key in rows),
        "w_ns": Texts(key[1] for key in rows),
        "w_checkpoint_id": Uuids(key[2] for key in rows),
        "w_task_id": Texts(key[3] for key in rows),
        "w_idx": Integers(key[4] for key in rows),
        "w_task_path": Texts(task.task_path for task, _, _ in rows.values()),
        "w_channel": Texts(channel for _, channel, _ in rows.values()),
        "w_run_id": Uuids(task.run_id for task, _, _ in rows.values()),
        "w_value": Blobs(value for _, _, value in rows.values()),
    }
