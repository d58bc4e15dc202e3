"""Ownership: claiming runs whose lease has ended or whose cancel nobody heeds, heartbeats, hand-back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flotilla_orchestrator.model import OwnedRun

_COLUMNS = """r.run_id, r.tenant_id, r.user_id, r.remembers, r.thread_id, r.agent, r.release, r.epoch, r.attempt,
  r.input, extract(epoch FROM r.deadline_at - now())::float8, r.traceparent, r.cancel_at IS NOT NULL"""
# How long an owner has to heed a cancel before the run is taken from it.
_CANCEL_GRACE = "interval '1.5 s'"

_CLAIM = f"""
WITH due AS (
  {{due}}),
l AS (
  UPDATE leases l SET owner = %(owner)s, epoch = l.epoch + 1, expires_at = now() + interval '6 s', claimed_at = now(),
    handed_back = false
  FROM due WHERE l.run_id = due.run_id RETURNING l.run_id, l.epoch, due.handed_back)
UPDATE runs r SET epoch = l.epoch, attempt = r.attempt + CASE WHEN l.handed_back THEN 0 ELSE 1 END
FROM l WHERE r.run_id = l.run_id
RETURNING {_COLUMNS}
"""  # noqa: S608 - composed of constants

CLAIM = _CLAIM.format(
    due="""SELECT run_id, handed_back FROM leases
  WHERE expires_at < now() ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED"""
)

# A zombie that writes on holds its lease's row locked again and again; after three rounds of being passed over the
# claim waits its turn.
CLAIM_PATIENTLY = _CLAIM.format(
    due="""SELECT run_id, handed_back FROM leases
  WHERE expires_at < now() - interval '3 s' ORDER BY expires_at LIMIT %(limit)s FOR UPDATE"""
)

# Whatever the lease: its owner may be dead or frozen, and one that is merely slow is fenced. It spends no attempt.
CLAIM_CANCELLED = _CLAIM.format(
    due=f"""SELECT l.run_id, true AS handed_back FROM leases l JOIN runs r USING (run_id)
  WHERE r.cancel_at < now() - {_CANCEL_GRACE} AND r.status <= 2 AND l.claimed_at < now() - {_CANCEL_GRACE}
  ORDER BY r.cancel_at LIMIT %(limit)s FOR UPDATE OF l SKIP LOCKED"""  # noqa: S608 - composed of constants
)

# A run that waits for a person has no lease until it is cancelled.
CLAIM_WAITING = f"""
WITH due AS (
  SELECT r.run_id, r.tenant_id, r.epoch FROM runs r
  WHERE r.cancel_at IS NOT NULL AND r.status = 2 AND NOT EXISTS (SELECT FROM leases l WHERE l.run_id = r.run_id)
  ORDER BY r.cancel_at LIMIT %(limit)s FOR UPDATE OF r SKIP LOCKED),
l AS (
  INSERT INTO leases (run_id, tenant_id, owner, epoch, expires_at)
  SELECT run_id, tenant_id, %(owner)s::uuid, epoch + 1, now() + interval '6 s' FROM due
  ON CONFLICT DO NOTHING RETURNING run_id, epoch)
UPDATE runs r SET epoch = l.epoch FROM l WHERE r.run_id = l.run_id
RETURNING {_COLUMNS}
"""  # noqa: S608 - composed of constants

# Seconds until the first run may be claimed by one of the statements above.
NEXT_CLAIM = f"""
SELECT extract(epoch FROM least(
  (SELECT min(expires_at) FROM leases),
  (SELECT min(greatest(r.cancel_at, l.claimed_at)) + {_CANCEL_GRACE} FROM runs r JOIN leases l USING (run_id)
   WHERE r.cancel_at IS NOT NULL AND r.status <= 2),
  (SELECT now() FROM runs r
   WHERE r.cancel_at IS NOT NULL AND r.status = 2 AND NOT EXISTS (SELECT FROM leases l WHERE l.run_id = r.run_id)
   LIMIT 1)) - now())::float8
"""  # noqa: S608 - composed of constants

# Only in a later statement than the claim: its own snapshot would miss what was written before its lock.
LAST_SEQUENCES = "SELECT run_id, max(seq) FROM events WHERE run_id = ANY(%(run_id)s) GROUP BY run_id"

# A claimer that stops between its two statements must not keep the rows locked.
BEGIN_BOUNDED = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '4s'; SET LOCAL lock_timeout = '2s'"

# IS TRUE keeps the pairs from becoming a join, which could read the whole table: each lease that is found by its run is
# looked up among them.
_OURS = """
  SELECT run_id FROM leases
  WHERE run_id = ANY(%(run_id)b) AND owner = %(owner)s{condition}
    AND ((run_id, epoch) IN (SELECT * FROM unnest(%(run_id)b::uuid[], %(epoch)b::int[]))) IS TRUE
  ORDER BY run_id FOR NO KEY UPDATE"""

# SKIP LOCKED, because plain heartbeats deadlock with finish.
BEAT = f"""
WITH k AS ({_OURS.format(condition=" AND NOT handed_back")} SKIP LOCKED),
b AS (
  UPDATE leases SET expires_at = now() + interval '6 s' WHERE run_id = ANY(ARRAY(SELECT run_id FROM k))
  RETURNING run_id)
SELECT run_id, cancel_at IS NOT NULL FROM runs WHERE run_id = ANY(ARRAY(SELECT run_id FROM b))
"""  # noqa: S608 - composed of constants

RELEASE = f"""
UPDATE leases SET expires_at = now(), handed_back = true
WHERE run_id = ANY(ARRAY({_OURS.format(condition="")}))
"""  # noqa: S608 - composed of constants

REQUEST_CANCEL = """
UPDATE runs SET cancel_at = coalesce(cancel_at, now())
WHERE run_id = %(run_id)s AND tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND status < 3
"""

CANCEL_REQUESTS = "SELECT run_id FROM runs WHERE run_id = ANY(%(run_id)s) AND cancel_at IS NOT NULL"


def owned_run_from(row: Sequence[Any], last_sequence: int) -> OwnedRun:
    """Returns the run that a row of CLAIM is."""
    (run_id, tenant_id, user_id, remembers, thread_id, agent, release, epoch, attempt, given, *rest) = row
    remaining_s, traceparent, cancel_requested = rest
    return OwnedRun(
        run_id=run_id,
        tenant_id=tenant_id,
        user_id=user_id,
        remembers=remembers,
        thread_id=thread_id,
        agent=agent,
        release=release,
        epoch=epoch,
        attempt=attempt,
        input=given,
        last_sequence=last_sequence,
        remaining_s=remaining_s,
        traceparent=traceparent,
        cancel_requested=cancel_requested,
    )
