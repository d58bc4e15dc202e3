"""People with many memories, made in the database itself."""

from __future__ import annotations

from uuid import uuid4

import psycopg
from fakes.servers import ServiceDatabase
from flotilla_memory.model import Person

_FILL = """
INSERT INTO memories (tenant_id, memory_id, user_id, kind, text, text_digest, run_id, thread_id, created_at,
  embedding_model, embedding)
SELECT %(tenant)s, uuidv7(), %(user)s, 1, 'Episode ' || n, int4send(n), gen_random_uuid(), %(thread)s, now(), %(model)s,
  CASE WHEN %(model)s::text IS NOT NULL THEN (ARRAY[cos(n), sin(n), 0])::vector END
FROM generate_series(1, %(count)s) AS n
"""


def somebody() -> Person:
    return Person(uuid4(), uuid4())


def fill(
    database: ServiceDatabase, person: Person, count: int, *, model: str | None = "m", thread_id: object = None
) -> None:
    """Gives a person episodes, newer than all there are, and lets Postgres see what it has now."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('flotilla.tenant_id', '*', false)")
        connection.execute(
            _FILL,
            {
                "tenant": person.tenant_id,
                "user": person.user_id,
                "count": count,
                "model": model,
                "thread": thread_id,
            },
        )
        connection.execute("VACUUM ANALYZE memories, sketches")
