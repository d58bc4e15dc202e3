"""Releases: written once, read when a process meets one that is not among its files."""

from __future__ import annotations

ADD = """
INSERT INTO releases (agent, hash, content, created_at)
SELECT * FROM unnest(%(agent)b::text[], %(hash)b::text[], %(content)b::text[], %(created_at)b::timestamptz[])
  AS i(agent, hash, content, created_at)
ORDER BY agent, hash
ON CONFLICT DO NOTHING
"""

CREATED_AT = "SELECT hash, created_at FROM releases WHERE hash = ANY(%(hash)b::text[])"

FIND = """
SELECT agent, hash, content, created_at FROM releases
WHERE agent = %(agent)s AND starts_with(hash, %(hash_prefix)s) LIMIT 2
"""
