"""What every outgoing call carries: identity, request id, idempotency key, trace context and a deadline."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import Span

from flotilla_common.identity import CallerSession, Identity, IdentitySigner
from flotilla_common.request import current_request_or_none
from flotilla_common.rpc.trace_context import inject

IDENTITY_KEY = "x-flotilla-identity"
REQUEST_ID_KEY = "x-request-id"
IDEMPOTENCY_KEY = "idempotency-key"
Metadata = tuple[tuple[str, str | bytes], ...]


class Outgoing:
    """Adds to a call, for one audience, what the current request says."""

    def __init__(self, *, audience: str, signer: IdentitySigner | None, default_timeout_s: float) -> None:
        self._audience = audience
        self._signer = signer
        self._default_timeout_s = default_timeout_s

    def metadata(self, given: Metadata, span: Span | None) -> Metadata:
        """Returns the call's metadata but for the identity; what the caller gives itself is not overridden."""
        ours: Metadata = inject((span or trace.get_current_span()).get_span_context())
        request = current_request_or_none()
        if request is not None:
            ours += ((REQUEST_ID_KEY, request.request_id),)
            if request.idempotency_key is not None:
                ours += ((IDEMPOTENCY_KEY, request.idempotency_key),)
        if not given:
            return ours
        named = {key for key, _ in given}
        return given + tuple(item for item in ours if item[0] not in named)

    def identity(self, given: Metadata) -> Identity | None:
        """Returns for whom the call is to be vouched for; nobody where the caller gives a token itself."""
        request = current_request_or_none()
        if request is None or self._signer is None or any(key == IDENTITY_KEY for key, _ in given):
            return None
        return request.identity

    def signed(self, metadata: Metadata, identity: Identity | None) -> Metadata:
        """Returns metadata with a token that names the identity, for a call that goes by itself."""
        if identity is None or self._signer is None:
            return metadata
        return (*metadata, (IDENTITY_KEY, self._signer.sign(identity, audience=self._audience)))

    def begin_session(self) -> CallerSession | None:
        """Returns a session for calls that share a stream; none where nobody is vouched for."""
        return None if self._signer is None else self._signer.begin_session(audience=self._audience)

    def timeout_s(self, given: float | None, *, answers_once: bool) -> float | None:
        """Returns the call's time limit: what is asked for or usual, but never more than the request has left.

        A stream that nobody limits has no limit, because it lives as long as what it shows.
        """
        wanted = given if given is not None or not answers_once else self._default_timeout_s
        request = current_request_or_none()
        remaining = request.remaining_s() if request is not None else None
        if remaining is None:
            return wanted
        return remaining if wanted is None else min(wanted, remaining)
