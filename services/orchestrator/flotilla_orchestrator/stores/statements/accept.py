"""Accepting runs: threads, runs, leases and first events of many runs in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from flotilla_common.columns import Blobs, Booleans, Doubles, Texts, Uuids

from flotilla_orchestrator.model import NewRun
from flotilla_orchestrator.stores.encoding import storable_json

FREE_EXPIRED_KEYS = """
UPDATE runs SET idem_key = NULL
WHERE (tenant_id, wire, idem_key) IN
    (SELECT * FROM unnest(%(tenant_id)b::uuid[], %(wire)b::text[], %(idem_key)b::text[]))
  AND created_at < now() - interval '24 hours'
"""

# `n` leaves out what is refused anyway, so that a refusal neither makes nor touches a thread; the unique indexes decide
# what races past it. A thread of somebody else is in neither `made` nor `used`, so its run finds nothing to join.
# UNION ALL keeps NOT EXISTS from becoming a join, which could read all runs.
ACCEPT = """
WITH i AS (
  SELECT * FROM unnest(
    %(run_id)b::uuid[], %(tenant_id)b::uuid[], %(user_id)b::uuid[], %(remembers)b::boolean[], %(thread_id)b::uuid[],
    %(create_thread)b::boolean[], %(ttl_s)b::float8[], %(agent)b::text[], %(release)b::text[], %(wire)b::text[],
    %(idem_key)b::text[], %(body_hash)b::bytea[], %(input)b::bytea[], %(limit_s)b::float8[], %(metadata)b::text[],
    %(traceparent)b::text[], %(event)b::bytea[])
  AS i(run_id, tenant_id, user_id, remembers, thread_id, create_thread, ttl_s, agent, release, wire, idem_key,
       body_hash, input, limit_s, metadata, traceparent, event)),
n AS (
  SELECT * FROM i
  WHERE NOT EXISTS (
    SELECT FROM runs r WHERE r.run_id = i.run_id
    UNION ALL
    SELECT FROM runs r WHERE r.thread_id = i.thread_id AND r.status = 1
    UNION ALL
    SELECT FROM runs r WHERE r.tenant_id = i.tenant_id AND r.wire = i.wire AND r.idem_key = i.idem_key)),
made AS (
  INSERT INTO threads AS t (thread_id, tenant_id, user_id, is_ephemeral, ttl, expires_at)
  SELECT DISTINCT ON (thread_id) thread_id, tenant_id, user_id, ttl_s IS NOT NULL, make_interval(secs => ttl_s),
    now() + make_interval(secs => ttl_s)
  FROM n WHERE create_thread ORDER BY thread_id
  ON CONFLICT (thread_id) DO UPDATE SET updated_at = now(), expires_at = now() + t.ttl
    WHERE (t.tenant_id, t.user_id) = (EXCLUDED.tenant_id, EXCLUDED.user_id)
  RETURNING t.thread_id, t.tenant_id, t.user_id),
used AS (
  UPDATE threads t SET updated_at = now(), expires_at = now() + t.ttl
  FROM (SELECT x.thread_id FROM threads x JOIN n USING (thread_id, tenant_id, user_id)
        WHERE NOT n.create_thread ORDER BY x.thread_id FOR NO KEY UPDATE OF x) o
  WHERE t.thread_id = o.thread_id
  RETURNING t.thread_id, t.tenant_id, t.user_id),
r AS (
  INSERT INTO runs (run_id, tenant_id, thread_id, user_id, remembers, agent, release, input, metadata, wire, idem_key,
    body_hash, traceparent, deadline_at)
  SELECT run_id, tenant_id, thread_id, user_id, remembers, agent, release, input, metadata::jsonb, wire, idem_key,
    body_hash, traceparent, now() + make_interval(secs => limit_s)
  FROM n JOIN (SELECT * FROM made UNION SELECT * FROM used) t USING (thread_id, tenant_id, user_id)
  ORDER BY run_id
  ON CONFLICT DO NOTHING RETURNING run_id),
l AS (
  INSERT INTO leases (run_id, tenant_id, owner, epoch, expires_at)
  SELECT run_id, tenant_id, %(owner)s::uuid, 1, now() + interval '6 s' FROM i JOIN r USING (run_id)),
e AS (
  INSERT INTO events (run_id, seq, epoch, tenant_id, payload)
  SELECT run_id, 1, 1, tenant_id, event FROM i JOIN r USING (run_id))
SELECT run_id FROM r
"""

# The same accept sent again after its answer was lost: our lease, and our very event.
ACCEPTED_BEFORE = """
SELECT e.run_id
FROM unnest(%(run_id)b::uuid[], %(event)b::bytea[]) i(run_id, event)
JOIN leases l ON l.run_id = i.run_id AND l.owner = %(owner)s AND l.epoch = 1
JOIN events e ON e.run_id = i.run_id AND e.seq = 1 AND e.epoch = 1 AND e.payload = i.event
WHERE l.run_id = ANY(%(run_id)b) AND e.run_id = ANY(%(run_id)b)
"""

TWINS = """
SELECT run_id FROM runs
WHERE tenant_id = %(tenant_id)s
  AND (run_id = %(run_id)s AND user_id = %(user_id)s OR wire = %(wire)s AND idem_key = %(idem_key)s)
ORDER BY run_id <> %(run_id)s LIMIT 1
"""

THREAD_IS_THEIRS = """
SELECT (tenant_id, user_id) = (%(tenant_id)s, %(user_id)s) FROM threads WHERE thread_id = %(thread_id)s
"""


def accept_arrays(runs: Sequence[NewRun], owner: UUID) -> Mapping[str, Any]:
    """Returns ACCEPT's parameters, one array a column."""
    return {
        "run_id": Uuids(run.run_id for run in runs),
        "tenant_id": Uuids(run.tenant_id for run in runs),
        "user_id": Uuids(run.user_id for run in runs),
        "remembers": Booleans(run.remembers for run in runs),
        "thread_id": Uuids(run.thread_id for run in runs),
        "create_thread": Booleans(run.create_thread for run in runs),
        "ttl_s": Doubles(run.thread_ttl_s for run in runs),
        "agent": Texts(run.agent for run in runs),
        "release": Texts(run.release for run in runs),
        "wire": Texts(run.wire for run in runs),
        "idem_key": Texts(run.idempotency_key for run in runs),
        "body_hash": Blobs(run.body_hash for run in runs),
        "input": Blobs(run.input for run in runs),
        "limit_s": Doubles(run.time_limit_s for run in runs),
        "metadata": Texts(storable_json(run.metadata) for run in runs),
        "traceparent": Texts(run.traceparent for run in runs),
        "event": Blobs(run.accepted_event for run in runs),
        "owner": owner,
    }
