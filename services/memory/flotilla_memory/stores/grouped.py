"""What a finished run leaves, in one statement for many people of one tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import orjson
from flotilla_common.columns import Blobs, Texts, Uuids
from flotilla_common.lane import Lane
from flotilla_common.postgres import NAMED_TENANT

from flotilla_memory.model import Embedding, NewMemory
from flotilla_memory.stores.words import text_digest

# A transaction of its own, which writes only by what the CTE returns that names the tenant.
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


async def add_episodes(lane: Lane, tenant_id: UUID, episodes: Sequence[tuple[UUID, NewMemory]]) -> list[bool]:
    """Stores each person's episode with its run; returns for each whether the run was new."""
    news = [new for _, new in episodes]
    parameters = {
        "tenant": tenant_id,
        "user": Uuids(user_id for user_id, _ in episodes),
        **embedding_columns([new.embedding for new in news]),
        "id": Uuids(new.memory.id for new in news),
        "text": Texts(new.memory.text for new in news),
        "digest": Blobs(text_digest(new.memory.text) for new in news),
        "run": Uuids(new.memory.run_id for new in news),
        "thread": Uuids(new.memory.thread_id for new in news),
        "agent": Texts(new.agent for new in news),
        "created_at": [new.memory.created_at for new in news],
    }
    stored = {memory_id for (memory_id,) in await lane.fetch(ADD_EPISODES, parameters)}
    return [new.memory.id in stored for new in news]


def embedding_columns(embeddings: Sequence[Embedding | None]) -> Mapping[str, Texts]:
    """Returns the columns `model` and `embedding`."""
    # pgvector reads a vector as it reads JSON's array; writing that is cheaper than any adapter.
    return {
        "model": Texts(None if embedding is None else embedding.model for embedding in embeddings),
        "embedding": Texts(
            None if embedding is None else orjson.dumps(list(embedding.vector)).decode() for embedding in embeddings
        ),
    }
