"""Ending runs: everything that belongs to a run's end, in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from flotilla_common.columns import Bigints, Blobs, Integers, Smallints, Texts, Uuids

from flotilla_orchestrator.model import FinishedRun
from flotilla_orchestrator.stores.encoding import answer_bytes
from flotilla_orchestrator.stores.statements.checkpoints import row_arrays, write_arrays

# Everything hangs on the deleted lease, so a stale epoch writes nothing: it waits for an open claim, then finds 0 rows.
# IS TRUE keeps the pairs from becoming a join, which could read the whole table.
_FINISH = """
WITH i AS (
  SELECT * FROM unnest(
    %(run_id)b::uuid[], %(epoch)b::int[], %(status)b::smallint[], %(finish_reason)b::smallint[], %(answer)b::bytea[],
    %(error_class)b::smallint[], %(error_reason)b::text[], %(error_message)b::text[])
  AS i(run_id, epoch, status, finish_reason, answer, error_class, error_reason, error_message)),
l AS (
  DELETE FROM leases
  WHERE run_id = ANY(%(run_id)b) AND owner = %(owner)s
    AND ((run_id, epoch) IN (SELECT * FROM unnest(%(run_id)b::uuid[], %(epoch)b::int[]))) IS TRUE
  RETURNING run_id),
r AS (
  UPDATE runs r SET status = i.status, finish_reason = i.finish_reason, answer = i.answer, error_class = i.error_class,
    error_reason = i.error_reason, error_message = i.error_message,
    finished_at = CASE WHEN i.status >= 3 THEN now() END
  FROM l JOIN i USING (run_id) WHERE r.run_id = l.run_id
  RETURNING r.run_id, r.epoch, r.tenant_id, r.user_id),
a AS (
  INSERT INTO events (run_id, seq, epoch, tenant_id, payload)
  SELECT run_id, seq, epoch, tenant_id, payload
  FROM unnest(%(e_run_id)b::uuid[], %(e_seq)b::int[], %(e_payload)b::bytea[]) e(run_id, seq, payload)
  JOIN r USING (run_id) {conflict}),
b AS (
  INSERT INTO checkpoints (tenant_id, thread_id, ns, checkpoint_id, parent_id, run_id, epoch, state, metadata,
    next_nodes)
  SELECT r.tenant_id, thread_id, ns, checkpoint_id, parent_id, run_id, r.epoch, state, metadata::jsonb,
    next_nodes::jsonb
  FROM unnest(%(c_thread_id)b::uuid[], %(c_ns)b::text[], %(c_checkpoint_id)b::uuid[], %(c_parent_id)b::uuid[],
    %(c_run_id)b::uuid[], %(c_state)b::bytea[], %(c_metadata)b::text[], %(c_next_nodes)b::text[])
    c(thread_id, ns, checkpoint_id, parent_id, run_id, state, metadata, next_nodes)
  JOIN r USING (run_id) {conflict}),{writes}
c AS (
  INSERT INTO usage (run_id, model, tenant_id, input_tokens, output_tokens, cost_micro_usd)
  SELECT run_id, model, tenant_id, sum(input_tokens), sum(output_tokens), sum(cost)
  FROM unnest(%(u_run_id)b::uuid[], %(u_model)b::text[], %(u_input)b::bigint[], %(u_output)b::bigint[],
    %(u_cost)b::bigint[]) u(run_id, model, input_tokens, output_tokens, cost)
  JOIN r USING (run_id) GROUP BY run_id, model, tenant_id
  ON CONFLICT (run_id, model) DO UPDATE SET input_tokens = EXCLUDED.input_tokens,
    output_tokens = EXCLUDED.output_tokens, cost_micro_usd = EXCLUDED.cost_micro_usd),
d AS (
  INSERT INTO outbox (tenant_id, user_id, run_id, kind, payload)
  SELECT tenant_id, user_id, run_id, kind, payload
  FROM unnest(%(o_run_id)b::uuid[], %(o_kind)b::smallint[], %(o_payload)b::bytea[]) o(run_id, kind, payload)
  JOIN r USING (run_id))
SELECT run_id FROM r
"""

_WRITES = """
w AS (
  INSERT INTO checkpoint_writes (tenant_id, thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id,
    epoch, value)
  SELECT r.tenant_id, thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, r.epoch, value
  FROM unnest(%(w_thread_id)b::uuid[], %(w_ns)b::text[], %(w_checkpoint_id)b::uuid[], %(w_task_id)b::text[],
    %(w_idx)b::int[], %(w_task_path)b::text[], %(w_channel)b::text[], %(w_run_id)b::uuid[], %(w_value)b::bytea[])
    w(thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, run_id, value)
  JOIN r USING (run_id)
  ON CONFLICT (thread_id, ns, checkpoint_id, task_id, idx) DO UPDATE
    SET channel = EXCLUDED.channel, value = EXCLUDED.value, epoch = EXCLUDED.epoch WHERE EXCLUDED.idx < 0),"""

# Few runs end with writes; where there are none, what would store them costs a fifth of the statement all the same.
FINISH = _FINISH.format(conflict="", writes="")
FINISH_WITH_WRITES = _FINISH.format(conflict="", writes=_WRITES)
# For runs of which an append wrote some of the rows already, whose answer was lost with the connection.
FINISH_AGAIN = _FINISH.format(conflict="ON CONFLICT DO NOTHING", writes=_WRITES)

EVENTS_OF_ANOTHER_EPOCH = """
SELECT e.run_id FROM events e
JOIN unnest(%(e_run_id)b::uuid[], %(e_seq)b::int[], %(e_payload)b::bytea[]) x(run_id, seq, payload) USING (run_id, seq)
JOIN unnest(%(run_id)b::uuid[], %(epoch)b::int[]) i(run_id, epoch) USING (run_id)
WHERE e.run_id = ANY(%(owned)s) AND (e.epoch, e.payload) <> (i.epoch, x.payload) LIMIT 1
"""

# The same finish sent again after its answer was lost: the terminal event stands there in this epoch.
FINISHED_BEFORE = """
SELECT e.run_id
FROM unnest(%(run_id)b::uuid[], %(epoch)b::int[], %(seq)b::int[], %(payload)b::bytea[]) i(run_id, epoch, seq, payload)
JOIN events e USING (run_id, epoch, seq) WHERE e.payload = i.payload
"""


def finish_arrays(batch: Sequence[FinishedRun], owner: UUID) -> Mapping[str, Any]:
    """Returns the parameters of FINISH and FINISH_WITH_WRITES, one array a column."""
    errors = [run.error for run in batch]
    return {
        "run_id": Uuids(run.run_id for run in batch),
        "epoch": Integers(run.epoch for run in batch),
        "status": Smallints(int(run.status) for run in batch),
        "finish_reason": Smallints(None if run.finish_reason is None else int(run.finish_reason) for run in batch),
        "answer": Blobs(answer_bytes(run.answer) for run in batch),
        "error_class": Smallints(None if error is None else int(error.error_class) for error in errors),
        "error_reason": Texts(None if error is None else error.reason for error in errors),
        "error_message": Texts(None if error is None else error.message.replace("\x00", "") for error in errors),
        "owner": owner,
        **_event_arrays(batch),
        **row_arrays([row for run in batch for row in run.checkpoints]),
        **write_arrays([writes for run in batch for writes in run.writes]),
        **_usage_arrays(batch),
        **_outbox_arrays(batch),
    }


def terminal_arrays(batch: Sequence[FinishedRun]) -> Mapping[str, Any]:
    """Returns FINISHED_BEFORE's parameters, one array a column."""
    return {
        "run_id": Uuids(run.run_id for run in batch),
        "epoch": Integers(run.epoch for run in batch),
        "seq": Integers(run.terminal_event.sequence for run in batch),
        "payload": Blobs(run.terminal_event.payload for run in batch),
    }


def _event_arrays(batch: Sequence[FinishedRun]) -> Mapping[str, Any]:
    events = [event for run in batch for event in (*run.events, run.terminal_event)]
    return {
        "e_run_id": Uuids(event.run_id for event in events),
        "e_seq": Integers(event.sequence for event in events),
        "e_payload": Blobs(event.payload for event in events),
    }


def _usage_arrays(batch: Sequence[FinishedRun]) -> Mapping[str, Any]:
    entries = [(run.run_id, usage) for run in batch for usage in run.usage]
    return {
        "u_run_id": Uuids(run_id for run_id, _ in entries),
        "u_model": Texts(usage.model for _, usage in entries),
        "u_input": Bigints(usage.input_tokens for _, usage in entries),
        "u_output": Bigints(usage.output_tokens for _, usage in entries),
        "u_cost": Bigints(usage.cost_micro_usd for _, usage in entries),
    }


def _outbox_arrays(batch: Sequence[FinishedRun]) -> Mapping[str, Any]:
    entries = [(run.run_id, entry) for run in batch for entry in run.outbox]
    return {
        "o_run_id": Uuids(run_id for run_id, _ in entries),
        "o_kind": Smallints(int(entry.kind) for _, entry in entries),
        "o_payload": Blobs(entry.payload for _, entry in entries),
    }
