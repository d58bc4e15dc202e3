"""Lets a call in: verifies for whom it is and makes that the current request."""

from __future__ import annotations

import time

from prometheus_client import Counter

from flotilla_common.errors import UnauthenticatedError
from flotilla_common.identity import Identity, IdentityVerifier
from flotilla_common.ids import new_id
from flotilla_common.request import RequestContext, enter_request
from flotilla_common.rpc.call import ServedCall
from flotilla_common.rpc.outgoing import IDEMPOTENCY_KEY, IDENTITY_KEY, REQUEST_ID_KEY

LONGEST_KEY = 255
_ADMITTED = Counter("flotilla_rpc_admitted", "Calls that were let in, by what proved for whom they are.", ["proof"])
_BY_SEAL, _BY_TOKEN = _ADMITTED.labels("seal"), _ADMITTED.labels("token")


def admit(call: ServedCall, verifier: IdentityVerifier) -> None:
    """Enters the request that the metadata describes; raises UnauthenticatedError if nobody we know vouches for it."""
    if call.vouch is not None:
        identity = call.vouch()
        _BY_SEAL.inc()
    else:
        identity = _named(call, verifier)
        _BY_TOKEN.inc()
    deadline = None if call.timeout_s is None else time.monotonic() + call.timeout_s
    request_id = (call.text(REQUEST_ID_KEY) or str(new_id()))[:LONGEST_KEY]
    enter_request(RequestContext(identity, request_id, call.text(IDEMPOTENCY_KEY), deadline))


def _named(call: ServedCall, verifier: IdentityVerifier) -> Identity:
    token = call.text(IDENTITY_KEY)
    if token is None:
        raise UnauthenticatedError("the call names no identity", reason="identity_missing")
    return verifier.verify(token)
