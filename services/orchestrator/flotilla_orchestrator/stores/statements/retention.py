"""What is deleted by itself: old events, expired threads, old idempotency keys; each statement one small batch.

Each returns when its rows were due and takes the time from which on it looks, for an index leads to what is gone until
it is vacuumed. Rows that another process has locked are that process's to delete.
"""

from __future__ import annotations

# Driven by an index, not by partitions: a waiting run must not keep a whole day of others. An array, because a
# plan that does not know the limit would join a share of all runs.
RUNS_WITH_OLD_EVENTS = """
UPDATE runs SET events_gone = true
WHERE run_id = ANY(ARRAY(
  SELECT run_id FROM runs
  WHERE finished_at < now() - make_interval(secs => %(kept_s)s) AND NOT events_gone
    AND finished_at >= %(after)s::timestamptz - make_interval(secs => %(kept_s)s)
  ORDER BY finished_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))
RETURNING run_id, finished_at + make_interval(secs => %(kept_s)s)
"""
DELETE_EVENTS = "DELETE FROM events WHERE run_id = ANY(%(run_ids)s)"

EXPIRED_THREADS = """
SELECT t.thread_id, t.expires_at FROM threads t
WHERE t.expires_at < now() AND t.expires_at >= %(after)s::timestamptz
  AND NOT EXISTS (SELECT FROM runs r WHERE r.thread_id = t.thread_id AND r.status <= 1 OFFSET 0)
ORDER BY t.expires_at LIMIT %(limit)s FOR UPDATE OF t SKIP LOCKED
"""
BUSY_THREADS = "SELECT thread_id FROM runs WHERE thread_id = ANY(%(thread_ids)s) AND status <= 1"

FREE_OLD_KEYS = """
UPDATE runs SET idem_key = NULL
WHERE run_id = ANY(ARRAY(
  SELECT run_id FROM runs WHERE idem_key IS NOT NULL AND created_at < now() - interval '24 hours'
    AND created_at >= %(after)s::timestamptz - interval '24 hours'
  ORDER BY created_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))
RETURNING run_id, created_at + interval '24 hours'
"""
