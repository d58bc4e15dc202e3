"""An identity as bytes, for where something else proves it: a seal, or a signature over many."""

from __future__ import annotations

import struct
from uuid import UUID

import orjson

from flotilla_common.identity.model import Identity

_HEAD = struct.Struct(">B16s16s")
_REMEMBERS, _HAS_RUN = 1, 2


def pack(identity: Identity) -> bytes:
    """Returns the identity as bytes."""
    run = b"" if identity.run_id is None else identity.run_id.bytes
    flags = (_REMEMBERS if identity.remembers else 0) | (_HAS_RUN if run else 0)
    return (
        _HEAD.pack(flags, identity.tenant_id.bytes, identity.user_id.bytes)
        + run
        + orjson.dumps(sorted(identity.scopes))
    )


def unpack(packed: bytes) -> Identity:
    """Returns the identity; raises ValueError for bytes that are none."""
    if len(packed) < _HEAD.size:
        raise ValueError("an identity is longer")
    flags, tenant, user = _HEAD.unpack_from(packed)
    scopes_at = _HEAD.size + (16 if flags & _HAS_RUN else 0)
    scopes = orjson.loads(packed[scopes_at:])
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise ValueError("scopes are a list of strings")
    return Identity(
        tenant_id=UUID(bytes=tenant),
        user_id=UUID(bytes=user),
        remembers=bool(flags & _REMEMBERS),
        scopes=frozenset(scopes),
        run_id=UUID(bytes=packed[_HEAD.size : scopes_at]) if flags & _HAS_RUN else None,
    )
