"""Ed25519 keys as PEM files: made once, read again when a file changes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from nacl.signing import SigningKey, VerifyKey


def generate_key_pair(private_file: Path, public_file: Path) -> None:
    """Writes a new key pair; the private file is readable by its owner only and never overwritten."""
    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    descriptor = os.open(private_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    public_file.write_bytes(public)


def read_private_key(file: Path) -> SigningKey:
    """Reads a private key; raises ValueError if the file holds anything but an Ed25519 key."""
    key = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file.name} is not an Ed25519 private key")
    # Never to be logged: its str() is the seed itself.
    return SigningKey(key.private_bytes_raw())


def read_public_key(file: Path) -> VerifyKey:
    """Reads a public key; raises ValueError if the file holds anything but an Ed25519 key."""
    key = load_pem_public_key(file.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{file.name} is not an Ed25519 public key")
    return VerifyKey(key.public_bytes_raw())


def fingerprint(files: Iterable[Path]) -> tuple[tuple[int, int, int] | None, ...]:
    """Returns what changes when one of the files is written, replaced or removed."""
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
