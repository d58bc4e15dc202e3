"""The two busy statements, each for many people of one tenant: recall, and what a finished run leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from flotilla_common.columns import Blobs, Integers, Texts, Uuids
from flotilla_common.postgres import NAMED_TENANT, Connection

from flotilla_memory.model import Candidate, CoreBlock, Embedding, Findings, Memory, MemoryKind, NewMemory, RecallQuery
from flotilla_memory.stores.words import text_digest

# Both statements are a transaction of their own, and read and write only by what the CTE returns that names the tenant.
ADD_EPISODES = f"""
WITH i AS MATERIALIZED (
  SELECT DISTINCT ON (run) {NAMED_TENANT} AS tenant, i.* FROM unnest(
    %(run)s::uuid[], %(user)s::uuid[], %(id)s::uuid[], %(text)s::text[], %(digest)s::bytea[], %(thread)s::uuid[],
    %(agent)s::text[], %(created_at)s::timestamptz[], %(model)s::text[], %(embedding)s::text[])
  AS i(run, user_id, id, text, digest, thread, agent, created_at, model, embedding) ORDER BY run),
first AS (
  INSERT INTO committed_runs (tenant_id, run_id) SELECT tenant, run FROM i ON CONFLICT DO NOTHING RETURNING run_id)
INSERT INTO memories (tenant_id, memory_id, user_id, kind, text, text_digest, run_id, thread_id, agent, created_at,
  embedding_model, embedding)
SELECT tenant, id, user_id, 1, text, digest, run, thread, agent, created_at, model, embedding::vector
FROM i JOIN first ON first.run_id = i.run RETURNING memory_id
"""  # noqa: S608 - it holds a constant of ours
# Vectors are compared inside a CASE, because one of another model's length would be an error, not a mismatch.
# What ts_delete removes is what question and memory share: it counts words ten times faster than unnest does.
# A connection may plan this while the table is empty. So OFFSET 0 has the chosen few looked up one by one, and by all
# that the person's index holds, so that either index finds one row.
FIND = f"""
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
    FROM memories m
    WHERE m.tenant_id = a.tenant AND m.user_id = a.user_id
      AND (a.without IS NULL OR m.thread_id IS DISTINCT FROM a.without)),
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
  (SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM mine LIMIT 1)) f
"""  # noqa: S608 - it holds a constant of ours


async def find(connection: Connection, tenant_id: UUID, asked: Sequence[tuple[UUID, RecallQuery]]) -> list[Findings]:
    """Returns what each person's memory holds for that person's question, in order."""
    queries = [query for _, query in asked]
    parameters = {
        "tenant": tenant_id,
        "user": Uuids(user_id for user_id, _ in asked),
        **_embeddings([query.embedding for query in queries]),
        "question": Texts(query.question for query in queries),
        "without": Uuids(query.without_thread for query in queries),
        "most": Integers(query.candidates for query in queries),
    }
    found: list[list[tuple[Any, ...]]] = [[] for _ in asked]
    for number, *row in await (await connection.execute(FIND, parameters)).fetchall():
        found[number - 1].append(tuple(row))
    return [_findings(rows) for rows in found]


async def add_episodes(
    connection: Connection, tenant_id: UUID, episodes: Sequence[tuple[UUID, NewMemory]]
) -> list[bool]:
    """Stores each person's episode with its run; returns for each whether the run was new."""
    news = [new for _, new in episodes]
    parameters = {
        "tenant": tenant_id,
        "user": Uuids(user_id for user_id, _ in episodes),
        **_embeddings([new.embedding for new in news]),
        "id": Uuids(new.memory.id for new in news),
        "text": Texts(new.memory.text for new in news),
        "digest": Blobs(text_digest(new.memory.text) for new in news),
        "run": Uuids(new.memory.run_id for new in news),
        "thread": Uuids(new.memory.thread_id for new in news),
        "agent": Texts(new.agent for new in news),
        "created_at": [new.memory.created_at for new in news],
    }
    stored = {memory_id for (memory_id,) in await (await connection.execute(ADD_EPISODES, parameters)).fetchall()}
    return [new.memory.id in stored for new in news]


def _embeddings(embeddings: Sequence[Embedding | None]) -> Mapping[str, Texts]:
    # pgvector reads a vector as it reads JSON's array; writing that is cheaper than any adapter.
    return {
        "model": Texts(None if embedding is None else embedding.model for embedding in embeddings),
        "embedding": Texts(
            None if embedding is None else orjson.dumps(list(embedding.vector)).decode() for embedding in embeddings
        ),
    }


def _findings(rows: Sequence[tuple[Any, ...]]) -> Findings:
    # A candidate has an id, a core block a label, and what says only that there is a memory has neither.
    candidates = tuple(_candidate(row[1:]) for row in rows if row[1] is not None)
    blocks = sorted((row[0], row[3]) for row in rows if row[0] is not None)
    return Findings(
        candidates=candidates,
        core_blocks=tuple(CoreBlock(label, text) for label, text in blocks),
        has_memories=len(rows) > len(candidates) + len(blocks),
    )


def _candidate(row: tuple[Any, ...]) -> Candidate:
    memory_id, kind, text, created_at, run_id, thread_id, similarity, coverage = row
    memory = Memory(memory_id, MemoryKind(kind), text, created_at, run_id, thread_id)
    return Candidate(memory=memory, similarity=similarity, word_coverage=coverage)
