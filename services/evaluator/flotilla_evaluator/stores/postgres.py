"""Observations in Postgres; a run and its scores are one statement."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flotilla_common.columns import Doubles, Texts
from flotilla_common.postgres import Pool, map_database_errors, tenant_transaction

from flotilla_evaluator.model import (
    Observation,
    ObservationPage,
    PagePosition,
    Score,
    ScoredObservation,
    Viewer,
)
from flotilla_evaluator.stores.codec import decode_messages, decode_usage, encode

_ADD = """
WITH first AS (
  INSERT INTO observations (tenant_id, run_id, user_id, agent, release, messages, usage, duration_ms, failed_tool_calls,
    finished_at)
  VALUES (%(tenant)s, %(run)s, %(user)s, %(agent)s, %(release)s, %(messages)s, %(usage)s, %(duration_ms)s,
    %(failed_tool_calls)s, %(finished_at)s)
  ON CONFLICT DO NOTHING RETURNING tenant_id, run_id),
given AS (
  INSERT INTO scores (tenant_id, run_id, key, value, explanation)
  SELECT f.tenant_id, f.run_id, s.key, s.value, s.explanation
  FROM first f, unnest(%(keys)s::text[], %(values)s::float8[], %(explanations)s::text[]) AS s (key, value, explanation))
SELECT run_id FROM first
"""
_SELECT = """
SELECT o.run_id, o.agent, o.release, o.messages, o.usage, o.duration_ms, o.finished_at, o.failed_tool_calls,
  s.keys, s.values, s.explanations
FROM observations o CROSS JOIN LATERAL (
  SELECT array_agg(key ORDER BY key) AS keys, array_agg(value ORDER BY key) AS values,
    array_agg(explanation ORDER BY key) AS explanations
  FROM scores WHERE tenant_id = o.tenant_id AND run_id = o.run_id) s
WHERE o.tenant_id = %(tenant)s AND (%(user)s::uuid IS NULL OR o.user_id = %(user)s::uuid)
"""
_GET = f"{_SELECT} AND o.run_id = %(run)s"
_LIST = f"""{_SELECT}
  AND (%(agent)s::text IS NULL OR o.agent = %(agent)s::text)
  AND (%(before)s::timestamptz IS NULL
    OR (o.finished_at, o.run_id) < (%(before)s::timestamptz, %(before_id)s::uuid))
ORDER BY o.finished_at DESC, o.run_id DESC LIMIT %(most)s
"""


class PostgresObservationStore:
    """Keeps observations in the schema `evaluator`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, tenant_id: UUID, user_id: UUID, observed: ScoredObservation) -> bool:
        """Stores a run where there is none, with its scores."""
        parameters = {"tenant": tenant_id, "user": user_id, **_parameters(observed)}
        with map_database_errors():
            async with tenant_transaction(self._pool, tenant_id) as connection:
                return await (await connection.execute(_ADD, parameters)).fetchone() is not None

    async def get(self, viewer: Viewer, run_id: UUID) -> ScoredObservation | None:
        """Reads one run with its scores."""
        parameters = {"tenant": viewer.tenant_id, "user": viewer.user_id, "run": run_id}
        with map_database_errors():
            async with tenant_transaction(self._pool, viewer.tenant_id) as connection:
                row = await (await connection.execute(_GET, parameters)).fetchone()
        return _observed(row) if row is not None else None

    async def list_page(
        self, viewer: Viewer, *, agent: str | None, size: int, after: PagePosition | None
    ) -> ObservationPage:
        """Reads one run more than asked for, to know whether there is a next page."""
        parameters = {
            "tenant": viewer.tenant_id,
            "user": viewer.user_id,
            "agent": agent,
            "before": after and after.finished_at,
            "before_id": after and after.run_id,
            "most": size + 1,
        }
        with map_database_errors():
            async with tenant_transaction(self._pool, viewer.tenant_id) as connection:
                rows = await (await connection.execute(_LIST, parameters)).fetchall()
        page = [_observed(row) for row in rows[:size]]
        return ObservationPage(page, _position(page[-1]) if len(rows) > size else None)


def _parameters(observed: ScoredObservation) -> dict[str, Any]:
    observation = observed.observation
    return {
        "run": observation.run_id,
        "agent": _storable(observation.agent),
        "release": _storable(observation.release),
        "messages": encode(observation.messages),
        "usage": encode(observation.usage),
        "duration_ms": round(observation.duration_s * 1000),
        "failed_tool_calls": observation.failed_tool_calls,
        "finished_at": observation.finished_at,
        "keys": Texts(score.key for score in observed.scores),
        "values": Doubles(score.value for score in observed.scores),
        "explanations": Texts(_storable(score.explanation) for score in observed.scores),
    }


def _observed(row: tuple[Any, ...]) -> ScoredObservation:
    run_id, agent, release, messages, usage, duration_ms, finished_at, failed, keys, values, explanations = row
    observation = Observation(
        run_id=run_id,
        agent=agent,
        release=release,
        messages=decode_messages(messages),
        usage=decode_usage(usage),
        duration_s=duration_ms / 1000,
        finished_at=finished_at,
        failed_tool_calls=failed,
    )
    scores = zip(keys or (), values or (), explanations or (), strict=True)
    return ScoredObservation(observation, [Score(*score) for score in scores])


def _position(observed: ScoredObservation) -> PagePosition:
    return PagePosition(observed.observation.finished_at, observed.observation.run_id)


def _storable(text: str) -> str:
    return text.replace("\x00", "")
