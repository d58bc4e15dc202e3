"""The outbox: messages to the leaves that are sent at least once."""

from __future__ import annotations

DUE = """
WITH d AS (
  SELECT id FROM outbox WHERE due_at <= now() ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
UPDATE outbox o SET due_at = now() + make_interval(secs => %(lock_s)s), attempts = attempts + 1
WHERE o.id = ANY(ARRAY(SELECT id FROM d))
RETURNING o.id, o.tenant_id, o.user_id, o.run_id, o.kind, o.payload, o.attempts,
  (SELECT r.traceparent FROM runs r WHERE r.run_id = o.run_id)
"""

SENT = "DELETE FROM outbox WHERE id = ANY(%(id)s)"

PUT_OFF = """
UPDATE outbox o SET due_at = now() + make_interval(secs => f.retry_in_s)
FROM unnest(%(id)b::bigint[], %(retry_in_s)b::float8[]) f(id, retry_in_s) WHERE o.id = f.id
"""
