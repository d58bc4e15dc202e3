"""Key pairs of both issuers, as files."""

from __future__ import annotations

import os
from pathlib import Path

from flotilla_common.identity import ISSUERS, generate_key_pair


def make_keys(folder: Path) -> Path:
    """Writes a pair for each issuer into a folder and returns it."""
    for issuer in ISSUERS:
        generate_key_pair(folder / f"{issuer}.pem", folder / f"{issuer}.pub")
    return folder


def replace_keys(folder: Path, *kinds: str, issuer: str = "gateway") -> None:
    """Puts the named halves ("pem", "pub") of a new pair in the place of an issuer's, each at once."""
    generate_key_pair(folder / "new.pem", folder / "new.pub")
    for kind in kinds:
        os.replace(folder / f"new.{kind}", folder / f"{issuer}.{kind}")
