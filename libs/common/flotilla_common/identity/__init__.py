"""Who a request is for, and the signed token by which services tell each other."""

from __future__ import annotations

from flotilla_common.identity.keys import generate_key_pair
from flotilla_common.identity.model import Identity
from flotilla_common.identity.session import CallerSession, SealedCall, ServerSession
from flotilla_common.identity.signer import IdentitySigner
from flotilla_common.identity.token import AUDIENCES, ISSUERS
from flotilla_common.identity.verifier import IdentityVerifier

__all__ = [
    "AUDIENCES",
    "ISSUERS",
    "CallerSession",
    "Identity",
    "IdentitySigner",
    "IdentityVerifier",
    "SealedCall",
    "ServerSession",
    "generate_key_pair",
]
