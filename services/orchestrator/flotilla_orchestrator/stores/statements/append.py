"""Appending events, checkpoints and pending writes of many runs, fenced by a row lock on each run's lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flotilla_common.columns import Blobs, Integers, Uuids

from flotilla_orchestrator.stores.run_store import RunAppend
from flotilla_orchestrator.stores.statements.checkpoints import row_arrays, write_arrays

# Comparing the epoch without a lock lets a stale owner write between a claim's snapshot and its commit. KEY SHARE waits
# for no heartbeat, and SKIP LOCKED for no claim: a run that is being claimed is not ours any more.
_EVENTS = """
WITH e AS (
  SELECT * FROM unnest(%(run_id)b::uuid[], %(seq)b::int[], %(epoch)b::int[], %(payload)b::bytea[])
  AS e(run_id, seq, epoch, payload)),
l AS MATERIALIZED (
  SELECT run_id, epoch, tenant_id FROM leases WHERE run_id = ANY(%(lease)b::uuid[])
  ORDER BY run_id FOR KEY SHARE SKIP LOCKED),
written AS (
  INSERT INTO events (run_id, seq, epoch, tenant_id, payload)
  SELECT run_id, seq, epoch, tenant_id, payload FROM e JOIN l USING (run_id, epoch) {conflict})
SELECT run_id FROM l JOIN unnest(%(lease)b::uuid[], %(lease_epoch)b::int[]) o(run_id, epoch) USING (run_id, epoch)
"""

_ALL = """
WITH e AS (
  SELECT * FROM unnest(%(run_id)b::uuid[], %(seq)b::int[], %(epoch)b::int[], %(payload)b::bytea[])
  AS e(run_id, seq, epoch, payload)),
c AS (
  SELECT * FROM unnest(%(c_thread_id)b::uuid[], %(c_ns)b::text[], %(c_checkpoint_id)b::uuid[], %(c_parent_id)b::uuid[],
    %(c_run_id)b::uuid[], %(c_state)b::bytea[], %(c_metadata)b::text[], %(c_next_nodes)b::text[])
  AS c(thread_id, ns, checkpoint_id, parent_id, run_id, state, metadata, next_nodes)),
w AS (
  SELECT * FROM unnest(%(w_thread_id)b::uuid[], %(w_ns)b::text[], %(w_checkpoint_id)b::uuid[], %(w_task_id)b::text[],
    %(w_idx)b::int[], %(w_task_path)b::text[], %(w_channel)b::text[], %(w_run_id)b::uuid[], %(w_value)b::bytea[])
  AS w(thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, value)),
locked AS MATERIALIZED (
  SELECT run_id, epoch, tenant_id FROM leases WHERE run_id = ANY(%(lease)b::uuid[])
  ORDER BY run_id FOR KEY SHARE SKIP LOCKED),
l AS (
  SELECT * FROM locked JOIN unnest(%(lease)b::uuid[], %(lease_epoch)b::int[]) o(run_id, epoch) USING (run_id, epoch)),
events_written AS (
  INSERT INTO events (run_id, seq, epoch, tenant_id, payload)
  SELECT run_id, seq, epoch, tenant_id, payload FROM e JOIN l USING (run_id, epoch) {conflict}),
checkpoints_written AS (
  INSERT INTO checkpoints (tenant_id, thread_id, ns, checkpoint_id, parent_id, run_id, epoch, state, metadata,
    next_nodes)
  SELECT l.tenant_id, thread_id, ns, checkpoint_id, parent_id, run_id, l.epoch, state, metadata::jsonb,
    next_nodes::jsonb
  FROM c JOIN l USING (run_id) {conflict}),
writes_written AS (
  INSERT INTO checkpoint_writes (tenant_id, thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id,
    epoch, value)
  SELECT l.tenant_id, thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, l.epoch, value
  FROM w JOIN l USING (run_id)
  ON CONFLICT (thread_id, ns, checkpoint_id, task_id, idx) DO UPDATE
    SET channel = EXCLUDED.channel, value = EXCLUDED.value, epoch = EXCLUDED.epoch WHERE EXCLUDED.idx < 0)
SELECT run_id FROM l
"""

APPEND_EVENTS = _EVENTS.format(conflict="")
APPEND_ALL = _ALL.format(conflict="")
# For a batch that may be written already, because its answer was lost with the connection.
APPEND_AGAIN = _ALL.format(conflict="ON CONFLICT DO NOTHING")

EVENTS_OF_ANOTHER_EPOCH = """
SELECT e.run_id FROM events e
JOIN unnest(%(run_id)b::uuid[], %(seq)b::int[], %(epoch)b::int[], %(payload)b::bytea[]) i(run_id, seq, epoch, payload)
  USING (run_id, seq)
WHERE e.run_id = ANY(%(owned)s) AND (e.epoch, e.payload) <> (i.epoch, i.payload) LIMIT 1
"""


def append_arrays(batch: Sequence[RunAppend]) -> Mapping[str, Any]:
    """Returns the parameters of APPEND_EVENTS, one array a column."""
    events = [(append, event) for append in batch for event in append.events]
    return {
        "run_id": Uuids(event.run_id for _, event in events),
        "seq": Integers(event.sequence for _, event in events),
        "epoch": Integers(append.epoch for append, _ in events),
        "payload": Blobs(event.payload for _, event in events),
        "lease": Uuids(append.run_id for append in batch),
        "lease_epoch": Integers(append.epoch for append in batch),
    }


def append_all_arrays(batch: Sequence[RunAppend]) -> Mapping[str, Any]:
    """Returns the parameters of APPEND_ALL, one array a column."""
    return {
        **append_arrays(batch),
        **row_arrays([row for append in batch for row in append.checkpoints]),
        **write_arrays([writes for append in batch for writes in append.writes]),
    }
