"""Ownership: claiming runs whose lease has ended, heartbeats, hand-back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flotilla_orchestrator.model import OwnedRun

_COLUMNS = """r.run_id, r.tenant_id, r.user_id, r.remembers, r.thread_id, r.agent, r.release, r.epoch, r.attempt,
  r.input, r.deadline_at, r.traceparent, r.cancel_at IS NOT NULL"""

_CLAIM = f"""
WITH due AS (
  SELECT run_id, handed_back FROM leases WHERE {{condition}} ORDER BY expires_at LIMIT %(limit)s FOR UPDATE {{skip}}),
l AS (
  UPDATE leases l SET owner = %(owner)s, epoch = l.epoch + 1, expires_at = now() + interval '6 s', handed_back = false
  FROM due WHERE l.run_id = due.run_id RETURNING l.run_id, l.epoch, due.handed_back)
UPDATE runs r SET epoch = l.epoch, attempt = r.attempt + CASE WHEN l.handed_back THEN 0 ELSE 1 END
FROM l WHERE r.run_id = l.run_id
RETURNING {_COLUMNS}
"""  # noqa: S608 - composed of constants

CLAIM = _CLAIM.format(condition="expires_at < now()", skip="SKIP LOCKED")

# A zombie that writes on holds its lease's row locked again and again; after three rounds of being passed over the
# claim waits its turn.
CLAIM_PATIENTLY = _CLAIM.format(condition="expires_at < now() - interval '3 s'", skip="")

# Only in a later statement than the claim: its own snapshot would miss what was written before its lock.
LAST_SEQUENCES = "SELECT run_id, max(seq) FROM events WHERE run_id = ANY(%(run_id)s) GROUP BY run_id"

# A claimer that stops between its two statements must not keep the rows locked.
BEGIN_BOUNDED = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '4s'; SET LOCAL lock_timeout = '2s'"

# SKIP LOCKED, because plain heartbeats deadlock with finish.
BEAT = """
WITH k AS (
  SELECT x.run_id FROM leases x
  JOIN unnest(%(run_id)b::uuid[], %(epoch)b::int[]) h(run_id, epoch) USING (run_id, epoch)
  WHERE x.owner = %(owner)s AND NOT x.handed_back ORDER BY x.run_id FOR NO KEY UPDATE OF x SKIP LOCKED),
b AS (
  UPDATE leases l SET expires_at = now() + interval '6 s' FROM k WHERE l.run_id = k.run_id RETURNING l.run_id)
SELECT b.run_id, r.cancel_at IS NOT NULL FROM b JOIN runs r USING (run_id)
"""

RELEASE = """
UPDATE leases l SET expires_at = now(), handed_back = true
FROM (SELECT x.run_id FROM leases x
      JOIN unnest(%(run_id)b::uuid[], %(epoch)b::int[]) h(run_id, epoch) USING (run_id, epoch)
      WHERE x.owner = %(owner)s ORDER BY x.run_id FOR NO KEY UPDATE OF x) k
WHERE l.run_id = k.run_id
"""

REQUEST_CANCEL = """
UPDATE runs SET cancel_at = coalesce(cancel_at, now())
WHERE run_id = %(run_id)s AND tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND status < 3
"""

CANCEL_REQUESTS = "SELECT run_id FROM runs WHERE run_id = ANY(%(run_id)s) AND cancel_at IS NOT NULL"


def owned_run_from(row: Sequence[Any], last_sequence: int) -> OwnedRun:
    """Returns the run that a row of CLAIM is."""
    (run_id, tenant_id, user_id, remembers, thread_id, agent, release, epoch, attempt, given, *rest) = row
    deadline_at, traceparent, cancel_requested = rest
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
        deadline_at=deadline_at,
        traceparent=traceparent,
        cancel_requested=cancel_requested,
    )
