"""Recall, in one statement for many people of one tenant: among few memories exactly, among many by their sketches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flotilla_common.columns import Integers, Texts, Uuids
from flotilla_common.lane import Lane
from flotilla_common.postgres import NAMED_TENANT

from flotilla_memory.model import Candidate, CoreBlock, Findings, Memory, MemoryKind, Person, RecallQuery
from flotilla_memory.people import NotedPeople
from flotilla_memory.stores.grouped import embedding_columns

FEW, LIKELIEST, SKETCHES = 500, 200, 20_000
"""All of so few memories are compared; of more, the likeliest by embedding and by words, among so many sketches."""

# A transaction of its own, which reads only by what the CTE returns that names the tenant.
# Vectors are compared inside a CASE, because one of another model's length would be an error, not a mismatch.
# What ts_delete removes is what question and memory share: it counts words ten times faster than unnest does.
# A connection may plan this while the table is empty. So OFFSET 0 has the chosen few looked up one by one, and by all
# that the person's index holds, so that either index finds one row.
_FIND = f"""
WITH asked AS MATERIALIZED (
  SELECT {NAMED_TENANT} AS tenant, n, user_id, model, without, most, embedding::vector AS embedding,
    tsvector_to_array(to_tsvector('english', question)) AS words
  FROM unnest(%(user)s::uuid[], %(model)s::text[], %(embedding)s::text[], %(question)s::text[], %(without)s::uuid[],
    %(most)s::int[]) WITH ORDINALITY AS asked(user_id, model, embedding, question, without, most, n))
SELECT a.n, f.* FROM asked a CROSS JOIN LATERAL (
  WITH mine AS MATERIALIZED (
    SELECT m.memory_id, m.created_at, length(m.words) - length(ts_delete(m.words, a.words)) AS shared_words,
      CASE WHEN m.embedding_model = a.model AND vector_dims(m.embedding) = vector_dims(a.embedding)
        THEN 1 - (m.embedding <=> a.embedding) END AS similarity
    FROM ({{memories}}) m),
  chosen AS (
    (SELECT * FROM mine WHERE similarity IS NOT NULL ORDER BY similarity DESC LIMIT a.most)
    UNION (SELECT * FROM mine WHERE shared_words > 0 ORDER BY shared_words DESC LIMIT a.most))
  SELECT NULL::text AS label, m.*, c.similarity, c.shared_words::float8 / greatest(cardinality(a.words), 1) AS coverage
  FROM chosen c CROSS JOIN LATERAL (
    SELECT memory_id, kind, text, created_at, run_id, thread_id FROM memories
    WHERE tenant_id = a.tenant AND user_id = a.user_id AND created_at = c.created_at AND memory_id = c.memory_id
    OFFSET 0) m
  UNION ALL
  SELECT label, NULL, NULL, text, NULL, NULL, NULL, NULL, NULL FROM core_blocks
  WHERE tenant_id = a.tenant AND user_id = a.user_id
  UNION ALL
  SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, count(*) FROM mine) f
"""  # noqa: S608 - it holds a constant of ours
_NOT_OF_THREAD = "(a.without IS NULL OR thread_id IS DISTINCT FROM a.without)"
FIND_AMONG_FEW = _FIND.format(
    memories=f"""
      SELECT * FROM memories WHERE tenant_id = a.tenant AND user_id = a.user_id AND {_NOT_OF_THREAD} LIMIT {FEW + 1}"""  # noqa: S608 - as above
)
# Facts are of the higher kind and come first, whatever their age.
FIND_AMONG_MANY = _FIND.format(
    memories=f"""
      WITH q AS MATERIALIZED (
        SELECT CASE WHEN a.embedding IS NULL THEN -1 ELSE embedding_space(a.model, a.embedding) END AS space,
          embedding_sketch(a.embedding), word_sketch(a.words)),
      likeliest AS (
        (SELECT s.created_at, s.memory_id FROM q CROSS JOIN LATERAL (
          SELECT created_at, memory_id, embedding_sketch FROM sketches
          WHERE tenant_id = a.tenant AND user_id = a.user_id AND space = q.space AND {_NOT_OF_THREAD}
          ORDER BY kind DESC, created_at DESC, memory_id DESC LIMIT {SKETCHES}) s
        ORDER BY s.embedding_sketch <~> q.embedding_sketch LIMIT {LIKELIEST})
        UNION ALL
        (SELECT s.created_at, s.memory_id
        FROM q CROSS JOIN LATERAL (VALUES (0, q.space), (q.space + 1, {2**63 - 1})) AS other (first, beyond)
        CROSS JOIN LATERAL (
          SELECT created_at, memory_id, word_sketch FROM sketches
          WHERE tenant_id = a.tenant AND user_id = a.user_id AND space >= first AND space < beyond AND {_NOT_OF_THREAD}
          ORDER BY space DESC, kind DESC, created_at DESC, memory_id DESC LIMIT {SKETCHES}) s
        ORDER BY bit_count(s.word_sketch & q.word_sketch) DESC LIMIT {LIKELIEST}))
      SELECT m.* FROM likeliest l CROSS JOIN LATERAL (
        SELECT * FROM memories
        WHERE tenant_id = a.tenant AND user_id = a.user_id AND created_at = l.created_at AND memory_id = l.memory_id
        OFFSET 0) m"""  # noqa: S608 - as above
)


async def find(
    lane: Lane, tenant_id: UUID, asked: Sequence[tuple[UUID, RecallQuery]], *, with_many: NotedPeople
) -> list[Findings]:
    """Returns what each person's memory holds for that person's question, in order; notes who has many memories."""
    people = [Person(tenant_id, user_id) for user_id, _ in asked]
    many = [place for place, person in enumerate(people) if person in with_many]
    few = [place for place, person in enumerate(people) if person not in with_many]
    found = dict(zip(few, await _find(lane, FIND_AMONG_FEW, tenant_id, [asked[n] for n in few]), strict=True))
    for place, (_, compared) in found.items():
        if compared > FEW:
            with_many.add(people[place])
            many.append(place)
    found |= zip(many, await _find(lane, FIND_AMONG_MANY, tenant_id, [asked[n] for n in many]), strict=True)
    for place in many:
        if found[place][1] < LIKELIEST:
            with_many.drop(people[place])
    return [found[place][0] for place in range(len(asked))]


async def _find(
    lane: Lane, statement: str, tenant_id: UUID, asked: Sequence[tuple[UUID, RecallQuery]]
) -> list[tuple[Findings, int]]:
    """Returns what was found for each, and among how many memories."""
    if not asked:
        return []
    queries = [query for _, query in asked]
    parameters = {
        "tenant": tenant_id,
        "user": Uuids(user_id for user_id, _ in asked),
        **embedding_columns([query.embedding for query in queries]),
        "question": Texts(query.question for query in queries),
        "without": Uuids(query.without_thread for query in queries),
        "most": Integers(query.candidates for query in queries),
    }
    found: list[list[tuple[Any, ...]]] = [[] for _ in asked]
    for number, *row in await lane.fetch(statement, parameters):
        found[number - 1].append(tuple(row))
    return [_findings(rows) for rows in found]


def _findings(rows: Sequence[tuple[Any, ...]]) -> tuple[Findings, int]:
    # A candidate has an id, a core block a label, and what says how many were compared has neither.
    candidates = tuple(_candidate(row[1:]) for row in rows if row[1] is not None)
    blocks = sorted((row[0], row[3]) for row in rows if row[0] is not None)
    (compared,) = (int(row[-1]) for row in rows if row[0] is None and row[1] is None)
    findings = Findings(candidates, tuple(CoreBlock(label, text) for label, text in blocks), has_memories=compared > 0)
    return findings, compared


def _candidate(row: tuple[Any, ...]) -> Candidate:
    memory_id, kind, text, created_at, run_id, thread_id, similarity, coverage = row
    memory = Memory(memory_id, MemoryKind(kind), text, created_at, run_id, thread_id)
    return Candidate(memory=memory, similarity=similarity, word_coverage=coverage)
