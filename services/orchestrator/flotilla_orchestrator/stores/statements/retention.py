"""What is deleted by itself: old events, expired threads, old idempotency keys; each statement one small batch."""

from __future__ import annotations

# Driven by an index, not by partitions: a waiting run must not keep a whole day of others. An array, because a
# plan that does not know the limit would join a share of all runs.
RUNS_WITH_OLD_EVENTS = """
UPDATE runs SET events_gone = true
WHERE run_id = ANY(ARRAY(
  SELECT run_id FROM runs
  WHERE finished_at < now() - make_interval(secs => %(kept_s)s) AND NOT events_gone
  ORDER BY finished_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))
RETURNING run_id
"""
DELETE_EVENTS = "DELETE FROM events WHERE run_id = ANY(%(run_ids)s)"

EXPIRED_THREADS = """
SELECT t.thread_id FROM threads t
WHERE t.expires_at < now() AND NOT EXISTS (SELECT FROM runs r WHERE r.thread_id = t.thread_id AND r.status <= 1)
ORDER BY t.expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
BUSY_THREADS = "SELECT thread_id FROM runs WHERE thread_id = ANY(%(thread_ids)s) AND status <= 1"

FREE_OLD_KEYS = """
UPDATE runs SET idem_key = NULL
WHERE run_id = ANY(ARRAY(
  SELECT run_id FROM runs WHERE idem_key IS NOT NULL AND created_at < now() - interval '24 hours'
  ORDER BY created_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))
RETURNING run_id
"""
