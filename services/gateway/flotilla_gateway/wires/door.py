"""The door of every wire: who is it, may they, and not too often."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from flotilla_common.errors import FlotillaError, PermissionDeniedError, ResourceExhaustedError, UnauthenticatedError
from flotilla_common.identity import Identity
from flotilla_common.request import RequestContext, enter_request
from starlette.types import Scope as AsgiScope

from flotilla_gateway.auth.authenticator import Authenticator
from flotilla_gateway.limits.shared import Limiter
from flotilla_gateway.limits.window import Verdict
from flotilla_gateway.model import AuditEntry, Origin, Principal, Scope
from flotilla_gateway.stores.audit import AuditLog


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was let in."""

    principal: Principal
    origin: Origin

    def serve_as(self, end_user: str | None = None, *, idempotency_key: str | None = None) -> Identity:
        """Makes this request act for the caller, or for the end user that they may name; returns who that is."""
        identity = self.principal.identity_for(end_user)
        enter_request(RequestContext(identity, self.origin.request_id, idempotency_key))
        return identity


class Door:
    """Lets callers in: authenticates, checks the scope, counts against the limit."""

    def __init__(
        self, authenticator: Authenticator, limiter: Limiter, audit: AuditLog, *, requests_per_minute: int
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._audit = audit
        self._requests_per_minute = requests_per_minute

    async def admit(self, scope: AsgiScope, needed: Scope) -> Caller:
        """Returns the caller of a request.

        Raises UnauthenticatedError, PermissionDeniedError when the credential lacks the scope, and
        ResourceExhaustedError when its limit is spent.
        """
        async with self.admitting(scope, needed) as caller:
            return caller

    @asynccontextmanager
    async def admitting(self, scope: AsgiScope, needed: Scope) -> AsyncIterator[Caller]:
        """Yields the caller while their limit is asked, for work that changes nothing; whatever `admit` raises.

        A spent limit is told at the end, before what is wrong with the request; a defect or a cancellation stays one.
        """
        origin = origin_of(scope)
        principal = await self._authenticator.authenticate(_credential(scope), origin)
        per_minute = principal.requests_per_minute or self._requests_per_minute
        answer = await self._limiter.ask(str(principal.credential_id), per_minute=per_minute)
        if not principal.may(needed):
            _heed(scope, await answer())
            await self._audit.append(_denied(principal, needed, scope["path"], origin))
            raise PermissionDeniedError(f"This needs an API key with the scope {needed}.", reason="scope_missing")
        try:
            yield Caller(principal, origin)
        except FlotillaError:
            _heed(scope, await answer())
            raise
        _heed(scope, await answer())


def _heed(scope: AsgiScope, verdict: Verdict) -> None:
    scope["state"]["reply_headers"] += _limit_headers(verdict)
    if not verdict.is_allowed:
        raise ResourceExhaustedError(
            f"Rate limit reached: {verdict.limit} requests a minute.",
            reason="rate_limit_exceeded",
            retry_after_s=verdict.retry_after_s,
        )


def origin_of(scope: AsgiScope) -> Origin:
    """Returns where a request came from."""
    client = scope.get("client")
    return Origin(address=client[0] if client else "", request_id=scope["state"]["request_id"])


def header(scope: AsgiScope, name: bytes) -> str | None:
    """Returns the first header of a (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def _credential(scope: AsgiScope) -> str:
    bearer = header(scope, b"authorization")
    if bearer and bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    key = header(scope, b"x-api-key")
    if key:
        return key.strip()
    raise UnauthenticatedError(
        "You didn't provide an API key: send it as Authorization: Bearer KEY or as x-api-key.", reason="api_key_missing"
    )


def _limit_headers(verdict: Verdict) -> list[tuple[bytes, bytes]]:
    # OpenAI's names and its spelling of durations.
    return [
        (b"x-ratelimit-limit-requests", str(verdict.limit).encode()),
        (b"x-ratelimit-remaining-requests", str(verdict.remaining).encode()),
        (b"x-ratelimit-reset-requests", f"{math.ceil(verdict.reset_after_s * 1000)}ms".encode()),
    ]


def _denied(principal: Principal, needed: Scope, path: str, origin: Origin) -> AuditEntry:
    return AuditEntry(
        tenant_id=principal.tenant_id,
        user_id=principal.user_id,
        credential_id=principal.credential_id,
        action="access",
        target=path[:200],
        outcome="denied",
        reason=f"scope {needed} is missing",
        address=origin.address,
        request_id=origin.request_id,
    )
