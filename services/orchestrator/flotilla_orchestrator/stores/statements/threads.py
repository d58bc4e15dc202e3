"""Threads: what is made, found, changed and deleted by its owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flotilla_orchestrator.model import Thread, ThreadStatus

# Numbers of runs.status to those of ThreadStatus; a run that is over without an error leaves its thread idle.
_STATUS = """coalesce((
    SELECT CASE WHEN r.status <= 1 THEN 2 WHEN r.status = 2 THEN 3 WHEN r.status IN (4, 6, 7) THEN 4 ELSE 1 END
    FROM runs r WHERE r.thread_id = t.thread_id ORDER BY r.run_id DESC LIMIT 1), 1)"""
_COLUMNS = f"""t.thread_id, t.tenant_id, t.user_id, {_STATUS} AS status, t.metadata, t.created_at, t.updated_at,
  t.expires_at"""
_MINE = "t.thread_id = %(thread_id)s AND t.tenant_id = %(tenant_id)s AND t.user_id = %(user_id)s"

CREATE = """
INSERT INTO threads (thread_id, tenant_id, user_id, metadata, ttl, expires_at)
VALUES (%(thread_id)s, %(tenant_id)s, %(user_id)s, %(metadata)s::jsonb, make_interval(secs => %(ttl_s)s::float8),
  now() + make_interval(secs => %(ttl_s)s::float8))
ON CONFLICT DO NOTHING RETURNING thread_id
"""

GET = f"SELECT {_COLUMNS} FROM threads t WHERE {_MINE}"  # noqa: S608 - composed of constants

UPDATE_METADATA = f"""
UPDATE threads t SET metadata = t.metadata || %(metadata)s::jsonb, updated_at = now(), expires_at = now() + t.ttl
WHERE {_MINE} RETURNING {_COLUMNS}
"""  # noqa: S608 - composed of constants

SEARCH = f"""
SELECT * FROM (
  SELECT {_COLUMNS} FROM threads t
  WHERE t.tenant_id = %(tenant_id)s AND t.user_id = %(user_id)s AND NOT t.is_ephemeral
    AND t.metadata @> %(metadata)s::jsonb
    AND (%(before_at)s::timestamptz IS NULL
      OR (t.updated_at, t.thread_id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))) t
WHERE %(status)s::int IS NULL OR t.status = %(status)s::int
ORDER BY t.updated_at DESC, t.thread_id DESC LIMIT %(limit)s
"""  # noqa: S608 - composed of constants

# The lock keeps new runs out: accepting one touches the thread's row.
LOCK = f"SELECT t.thread_id FROM threads t WHERE {_MINE} FOR UPDATE"  # noqa: S608 - composed of constants

IS_BUSY = "SELECT run_id FROM runs WHERE thread_id = ANY(%(thread_ids)s) AND status <= 1"

_RUNS = "run_id = ANY(ARRAY(SELECT run_id FROM runs WHERE thread_id = ANY(%(thread_ids)s)))"

# The usage ledger stays, and so does the outbox. Runs are locked before their events, as the sweep of old events does,
# so that the two never wait for each other. An array, because a plan that does not know how many runs there are would
# join all events.
DELETE = (
    "SELECT run_id FROM runs WHERE thread_id = ANY(%(thread_ids)s) ORDER BY run_id FOR UPDATE",
    f"DELETE FROM leases WHERE {_RUNS}",  # noqa: S608 - composed of constants
    f"DELETE FROM events WHERE {_RUNS}",  # noqa: S608 - composed of constants
    "DELETE FROM runs WHERE thread_id = ANY(%(thread_ids)s)",
    "DELETE FROM checkpoint_writes WHERE thread_id = ANY(%(thread_ids)s)",
    "DELETE FROM checkpoints WHERE thread_id = ANY(%(thread_ids)s)",
    "DELETE FROM threads WHERE thread_id = ANY(%(thread_ids)s)",
)


def thread_from(row: Sequence[Any]) -> Thread:
    """Returns the thread that a row of GET is."""
    thread_id, tenant_id, user_id, status, metadata, created_at, updated_at, expires_at = row
    return Thread(
        thread_id=thread_id,
        tenant_id=tenant_id,
        user_id=user_id,
        status=ThreadStatus(status),
        metadata=metadata,
        created_at=created_at,
        updated_at=updated_at,
        expires_at=expires_at,
    )
