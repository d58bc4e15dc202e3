"""`/v1/keys`: API keys, for administrators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from flotilla_common.errors import NotFoundError
from pydantic import BaseModel, ConfigDict, Field

from flotilla_gateway.model import ApiKey, NewApiKey, Scope
from flotilla_gateway.service import KeyService
from flotilla_gateway.wires.door import Door

# Everything but control characters, which no database column and no terminal wants.
Label = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")

    name: Label
    scopes: Annotated[list[Scope], Field(min_length=1)] = [Scope.CHAT]
    user: Label | None = None
    """Whose key it is; without it the key has a user, and so a memory, of its own."""
    expires_at: Annotated[int, Field(ge=0, le=253_402_300_799)] | None = None
    """Unix seconds."""
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class Key(BaseModel):
    """A key without its secret."""

    id: UUID
    object: str = "api_key"
    name: str
    prefix: str
    scopes: list[Scope]
    user: str
    user_id: UUID
    requests_per_minute: int | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None


class MadeKey(Key):
    """A key and its text, shown this once."""

    key: str


class KeyList(BaseModel):
    """The tenant's keys, newest first."""

    object: str = "list"
    data: list[Key]


class DeletedKey(BaseModel):
    """A key that is revoked."""

    id: UUID
    object: str = "api_key"
    deleted: bool = True


def key_routes(door: Door, keys: KeyService) -> APIRouter:
    """Returns the routes."""
    router = APIRouter(prefix="/v1/keys", tags=["Keys"])

    @router.post("", status_code=201)
    async def create_key(body: NewKey, request: Request) -> MadeKey:
        """Makes a key; its text is in this reply and nowhere else."""
        caller = await door.admit(request.scope, Scope.ADMIN)
        made, text = await keys.create(caller.principal, _wish(body), caller.origin)
        return MadeKey(**_shown(made).model_dump(), key=text)

    @router.get("")
    async def list_keys(request: Request) -> KeyList:
        """Lists the tenant's keys."""
        caller = await door.admit(request.scope, Scope.ADMIN)
        return KeyList(data=[_shown(key) for key in await keys.list(caller.principal)])

    @router.delete("/{key_id}")
    async def revoke_key(key_id: str, request: Request) -> DeletedKey:
        """Revokes a key, on all replicas within 5 seconds."""
        caller = await door.admit(request.scope, Scope.ADMIN)
        known = _known_form(key_id)
        await keys.revoke(caller.principal, known, caller.origin)
        return DeletedKey(id=known)

    return router


def _wish(body: NewKey) -> NewApiKey:
    return NewApiKey(
        name=body.name,
        scopes=frozenset(body.scopes),
        user=body.user,
        expire_time=datetime.fromtimestamp(body.expires_at, UTC) if body.expires_at is not None else None,
        requests_per_minute=body.requests_per_minute,
    )


def _shown(key: ApiKey) -> Key:
    return Key(
        id=key.key_id,
        name=key.name,
        prefix=key.prefix,
        scopes=sorted(key.scopes),
        user=key.user_name,
        user_id=key.user_id,
        requests_per_minute=key.requests_per_minute,
        created_at=int(key.create_time.timestamp()),
        expires_at=_seconds(key.expire_time),
        revoked_at=_seconds(key.revoke_time),
    )


def _seconds(time: datetime | None) -> int | None:
    return int(time.timestamp()) if time is not None else None


def _known_form(key_id: str) -> UUID:
    try:
        return UUID(key_id)
    except ValueError:
        raise NotFoundError("No such API key.", reason="key_not_found") from None
