"""Who a request is for, and the signed token by which services tell each other."""

from __future__ import annotations

from flotilla_common.identity.keys import generate_key_pair
from flotilla_common.identity.model import Identity
from flotilla_common.identity.session import SESSION_OVER, CallerSession, SealedCall, ServerSession
from flotilla_common.identity.signer import IdentitySigner
from flotilla_common.identity.token import AUDIENCES, ISSUERS
from flotilla_common.identity.verifier import IdentityVerifier

__all__ = [
    "AUDIENCES",
    "ISSUERS",
    "SESSION_OVER",
    "CallerSession",
    "Identity",
    "IdentitySigner",
    "IdentityVerifier",
    "SealedCall",
    "ServerSession",
    "generate_key_pair",
]
