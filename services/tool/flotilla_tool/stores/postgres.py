"""The ledger in Postgres: one statement before a batch, one after it, however many calls it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flotilla_common.columns import Blobs, Booleans, Integers, Smallints, Texts
from flotilla_common.errors import InvalidArgumentError
from flotilla_common.postgres import Connection, Pool, map_database_errors, tenant_transaction

from flotilla_tool.model import Caller, FinishedCall, LedgerEntry, LedgerKey, LedgerState, Outcome, Result

# The snapshot of the SELECT is older than the INSERT beside it: it shows only rows of earlier claims. A row that a
# concurrent claim committed in between is in neither part; its key is missing from the answer.
_CLAIM = """
WITH asked AS (
  SELECT * FROM unnest(%(keys)s::text[], %(tools)s::text[], %(digests)s::bytea[], %(intents)s::bool[])
    AS a (idempotency_key, tool, arguments_digest, needs_intent)),
intents AS (
  INSERT INTO invocations (tenant_id, user_id, idempotency_key, run_id, tool, arguments_digest)
  SELECT %(tenant)s, %(user)s, idempotency_key, %(run)s, tool, arguments_digest FROM asked WHERE needs_intent
  ORDER BY idempotency_key ON CONFLICT DO NOTHING RETURNING idempotency_key)
SELECT idempotency_key, true, NULL, NULL, NULL, NULL, NULL FROM intents
UNION ALL
SELECT i.idempotency_key, false, i.tool, i.arguments_digest, i.outcome, i.content, i.reason
FROM invocations i JOIN asked USING (idempotency_key) WHERE i.tenant_id = %(tenant)s AND i.user_id = %(user)s
"""
_READ = """
SELECT idempotency_key, false, tool, arguments_digest, outcome, content, reason FROM invocations
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND idempotency_key = ANY (%(keys)s::text[])
"""
_RECORD = """
INSERT INTO invocations AS i (tenant_id, user_id, idempotency_key, run_id, tool, arguments_digest, outcome, content,
  reason, duration_ms, finished_at)
SELECT %(tenant)s, %(user)s, idempotency_key, %(run)s, tool, arguments_digest, outcome, content, reason, duration_ms,
  now()
FROM unnest(%(keys)s::text[], %(tools)s::text[], %(digests)s::bytea[], %(outcomes)s::int2[], %(contents)s::text[],
  %(reasons)s::text[], %(durations)s::int[])
  AS r (idempotency_key, tool, arguments_digest, outcome, content, reason, duration_ms)
ORDER BY idempotency_key
ON CONFLICT (tenant_id, user_id, idempotency_key) DO UPDATE SET outcome = EXCLUDED.outcome, content = EXCLUDED.content,
  reason = EXCLUDED.reason, duration_ms = EXCLUDED.duration_ms, finished_at = EXCLUDED.finished_at
WHERE i.outcome IS NULL
"""
_FREE = LedgerEntry(LedgerState.FREE)
_INTENDED = LedgerEntry(LedgerState.INTENDED)
_Row = tuple[Any, ...]


class PostgresLedger:
    """Keeps the ledger in the schema `tool`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, caller: Caller, keys: Sequence[LedgerKey]) -> Mapping[str, LedgerEntry]:
        """Stores intents and reads what is known in one statement; a reused key rolls the intents back."""
        by_key = {key.idempotency_key: key for key in keys}
        with map_database_errors():
            async with tenant_transaction(self._pool, caller.tenant_id) as connection:
                rows = await _claim(connection, caller, keys)
                known = {row[0]: _entry(row, by_key[row[0]]) for row in rows}
        return {key: known.get(key, _FREE) for key in by_key}

    async def record(self, caller: Caller, calls: Sequence[FinishedCall]) -> None:
        """Stores all results in one statement."""
        results = [call.result for call in calls]
        parameters = {
            **_parameters(caller, [call.key for call in calls]),
            "outcomes": Smallints(int(result.outcome) for result in results),
            "contents": Texts(result.content for result in results),
            "reasons": Texts(result.reason for result in results),
            "durations": Integers(round(result.duration_s * 1000) for result in results),
        }
        with map_database_errors():
            async with tenant_transaction(self._pool, caller.tenant_id) as connection:
                await connection.execute(_RECORD, parameters)


async def _claim(connection: Connection, caller: Caller, keys: Sequence[LedgerKey]) -> list[_Row]:
    parameters = _parameters(caller, keys) | {"intents": Booleans(key.needs_intent for key in keys)}
    rows: list[_Row] = await (await connection.execute(_CLAIM, parameters)).fetchall()
    answered = {row[0] for row in rows}
    if raced := [key.idempotency_key for key in keys if key.needs_intent and key.idempotency_key not in answered]:
        rows += await (await connection.execute(_READ, {**parameters, "keys": Texts(raced)})).fetchall()
    return rows


def _parameters(caller: Caller, keys: Sequence[LedgerKey]) -> dict[str, Any]:
    return {
        "tenant": caller.tenant_id,
        "user": caller.user_id,
        "run": caller.run_id,
        "keys": Texts(key.idempotency_key for key in keys),
        "tools": Texts(key.tool for key in keys),
        "digests": Blobs(key.arguments_digest for key in keys),
    }


def _entry(row: _Row, key: LedgerKey) -> LedgerEntry:
    _, is_mine, tool, digest, outcome, content, reason = row
    if is_mine:
        return _FREE
    if (tool, bytes(digest)) != (key.tool, key.arguments_digest):
        raise InvalidArgumentError("An idempotency key was used for another call.", reason="idempotency_key_reused")
    if outcome is None:
        return _INTENDED
    return LedgerEntry(LedgerState.FINISHED, Result(Outcome(outcome), content, reason or "", replayed=True))
