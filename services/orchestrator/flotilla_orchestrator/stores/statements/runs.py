"""Reads of runs and of the event log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flotilla_orchestrator.model import ErrorClass, FinishReason, ModelUsage, Run, RunError, RunStatus
from flotilla_orchestrator.stores.encoding import answer_from

_COLUMNS = """r.run_id, r.tenant_id, r.user_id, r.thread_id, r.agent, r.release, r.status, r.attempt, r.wire,
  r.created_at, r.finished_at, r.metadata, r.finish_reason, r.answer, r.error_class, r.error_reason,
  r.error_message, r.body_hash,
  (SELECT jsonb_agg(jsonb_build_array(u.model, u.input_tokens, u.output_tokens, u.cost_micro_usd) ORDER BY u.model)
   FROM usage u WHERE u.run_id = r.run_id)"""

GET_RUN = f"""
SELECT {_COLUMNS} FROM runs r
WHERE r.run_id = %(run_id)s AND r.tenant_id = %(tenant_id)s AND r.user_id = %(user_id)s
"""  # noqa: S608 - composed of constants

GET_RUN_OF_TENANT = f"""
SELECT {_COLUMNS} FROM runs r WHERE r.run_id = %(run_id)s AND r.tenant_id = %(tenant_id)s
"""  # noqa: S608 - composed of constants

# Run ids are UUIDs version 7, so their order is the order of creation.
LIST_RUNS = f"""
SELECT {_COLUMNS} FROM runs r
WHERE r.thread_id = %(thread_id)s AND r.tenant_id = %(tenant_id)s AND r.user_id = %(user_id)s
  AND (%(before)s::uuid IS NULL OR r.run_id < %(before)s::uuid)
ORDER BY r.run_id DESC LIMIT %(limit)s
"""  # noqa: S608 - composed of constants

READ_EVENTS = """
SELECT run_id, seq, payload FROM (
  SELECT run_id, seq, payload, sum(octet_length(payload)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes
  FROM (SELECT run_id, seq, payload FROM events
        WHERE run_id = %(run_id)s AND seq > %(after)s ORDER BY seq LIMIT %(limit)s) e) e
WHERE bytes - octet_length(payload) < %(most_bytes)s ORDER BY seq
"""

READ_MANY_EVENTS = """
SELECT e.run_id, e.seq, e.payload
FROM unnest(%(run_id)b::uuid[], %(after)b::int[]) w(run_id, after)
JOIN events e ON e.run_id = w.run_id AND e.seq > w.after AND e.seq <= w.after + 500
ORDER BY e.run_id, e.seq
"""


def run_from(row: Sequence[Any]) -> Run:
    """Returns the run that a row of GET_RUN or LIST_RUNS is."""
    run_id, tenant_id, user_id, thread_id, agent, release, status, attempt, wire, created_at, finished_at, *rest = row
    metadata, finish_reason, answer, error_class, error_reason, error_message, body_hash, usage = rest
    return Run(
        run_id=run_id,
        tenant_id=tenant_id,
        user_id=user_id,
        thread_id=thread_id,
        agent=agent,
        release=release,
        status=RunStatus(status),
        attempt=attempt,
        wire=wire,
        created_at=created_at,
        finished_at=finished_at,
        metadata=metadata,
        finish_reason=None if finish_reason is None else FinishReason(finish_reason),
        answer=answer_from(answer),
        usage=tuple(ModelUsage(*entry) for entry in usage or ()),
        error=None if error_class is None else RunError(ErrorClass(error_class), error_reason, error_message),
        body_hash=body_hash,
    )
