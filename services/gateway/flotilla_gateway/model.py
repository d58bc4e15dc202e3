"""The gateway's plain values: who calls, API keys and what the audit log keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

from flotilla_common.identity import Identity

DEFAULT_TENANT_ID = UUID("0197c000-0000-7000-8000-000000000001")
"""The tenant of an installation that has only one."""
ADMIN_USER_ID = UUID("0197c000-0000-7000-8000-000000000002")
"""Whom the admin key belongs to."""
ADMIN_KEY_ID = UUID("0197c000-0000-7000-8000-000000000003")
"""The row of the admin key, whatever its secret is at the moment."""


class Scope(StrEnum):
    """What a credential may do."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    ACT_AS = "act_as"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it may be shown: everything but its secret."""

    key_id: UUID
    tenant_id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: frozenset[Scope]
    create_time: datetime
    expire_time: datetime | None = None
    revoke_time: datetime | None = None
    requests_per_minute: int | None = None
    """None means the installation's default."""
    user_name: str = ""

    def refusal_at(self, now: datetime) -> str | None:
        """Returns why the key is not valid at that time, or None when it is."""
        if self.revoke_time is not None:
            return "revoked"
        if self.expire_time is not None and self.expire_time <= now:
            return "expired"
        return None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key with the keyed hash that proves it."""

    key: ApiKey
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, whatever the credential was."""

    tenant_id: UUID
    user_id: UUID
    credential_id: UUID
    """What is limited and audited: an API key's id."""
    scopes: frozenset[Scope] = field(default_factory=frozenset)
    requests_per_minute: int | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the credential has a scope."""
        return scope in self.scopes

    def identity_for(self, end_user: str | None) -> Identity:
        """Returns whom the request is for: the owner, or the end user that an `act_as` credential names.

        A credential that acts for many people and names nobody has no long-term memory, so that people never share one.
        """
        acts = Scope.ACT_AS in self.scopes
        named = acts and bool(end_user)
        return Identity(
            tenant_id=self.tenant_id,
            user_id=uuid5(self.user_id, end_user) if named and end_user else self.user_id,
            remembers=named or not acts,
            scopes=frozenset(self.scopes),
        )


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key as somebody asks for it."""

    name: str
    scopes: frozenset[Scope]
    user: str | None = None
    """The name of the user it belongs to; None gives it a user of its own."""
    expire_time: datetime | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what, from where, and how it ended."""

    tenant_id: UUID
    user_id: UUID
    credential_id: UUID | None
    action: str
    target: str
    outcome: str
    reason: str = ""
    address: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, for the audit log."""

    address: str = ""
    request_id: str = ""
