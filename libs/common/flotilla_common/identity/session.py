"""Sessions: one signature for all calls of a stream, in place of one for each person that it carries.

Both ends bring a key of their own, made for this stream (X25519). The caller's is in a token that its issuer signed;
what both derive from the two (libsodium's key exchange) is known to nobody else, whoever reads along or copies the
token. Each call is sealed with it (keyed BLAKE2b): who it is for, its number, its method and its request.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from nacl.bindings import crypto_kx_client_session_keys, crypto_kx_keypair, crypto_kx_server_session_keys
from nacl.exceptions import CryptoError

from flotilla_common.errors import UnauthenticatedError, UnavailableError
from flotilla_common.identity.model import Identity
from flotilla_common.identity.packed import pack, unpack

SESSION_OVER = "session_over"
"""Why a call on a session that has ended fails: it may be made again in another way."""
_MAC_BYTES = 32
_PURPOSE = b"flotilla calls"
_CALL = struct.Struct(">QII")


@dataclass(frozen=True, slots=True)
class SealedCall:
    """What a seal covers beside the identity."""

    number: int
    """On its stream, where none comes twice."""
    method: str
    request: bytes


class CallerSession:
    """The caller's end: it signs nothing more, and seals."""

    def __init__(self, vouch: Callable[[bytes], str], *, lasts_s: float) -> None:
        """Takes a function that signs the session's public key, and how long to seal: less than the token lives."""
        self._public, self._secret = crypto_kx_keypair()
        self._ends_at = time.monotonic() + lasts_s
        self._key: bytes | None = None
        self.token = vouch(self._public)
        """What the server needs to begin its end."""

    @property
    def can_seal(self) -> bool:
        """Whether the server has answered and the session goes on."""
        return self._key is not None and time.monotonic() < self._ends_at

    def agree(self, server_key: bytes) -> None:
        """Takes the server's answer; with one that is no key the session never seals."""
        with suppress(CryptoError):
            _, self._key = crypto_kx_client_session_keys(self._public, self._secret, server_key)

    def seal(self, identity: Identity, call: SealedCall) -> bytes:
        """Returns what proves for whom a call is. Raises ValueError before `can_seal`."""
        if self._key is None:
            raise ValueError("the server has not answered yet")
        packed = pack(identity)
        return _mac(self._key, packed, call) + packed


class ServerSession:
    """The server's end, for as long as `is_current` says."""

    def __init__(self, caller_key: bytes, *, is_current: Callable[[], bool]) -> None:
        """Raises nacl.exceptions.CryptoError for what is no key."""
        self.answer, secret = crypto_kx_keypair()
        """What the caller needs to seal."""
        self._key, _ = crypto_kx_server_session_keys(self.answer, secret, caller_key)
        self._is_current = is_current

    def open(self, sealed: bytes, call: SealedCall) -> Identity:
        """Returns whom a call is for; that no number comes twice is the stream's to see to.

        Raises UnauthenticatedError for a seal that is wrong, and UnavailableError once the session is over: then the
        same call may be made by a token.
        """
        if not self._is_current():
            raise UnavailableError("the call is to be made again", reason=SESSION_OVER)
        mac, packed = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, _mac(self._key, packed, call)):
            raise UnauthenticatedError("the call's seal is not valid", reason="identity_invalid")
        return unpack(packed)


def _mac(key: bytes, packed: bytes, call: SealedCall) -> bytes:
    method = call.method.encode()
    # Lengths before contents, so that no two calls are the same bytes.
    mac = hashlib.blake2b(
        _CALL.pack(call.number, len(packed), len(method)), key=key, person=_PURPOSE, digest_size=_MAC_BYTES
    )
    mac.update(packed + method)
    mac.update(call.request)
    return mac.digest()
