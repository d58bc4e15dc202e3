"""Fixtures: both issuers' keys, and who verifies by them."""

from __future__ import annotations

from pathlib import Path

import pytest
from flotilla_common.identity import IdentityVerifier, generate_key_pair


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for issuer in ("gateway", "orchestrator"):
        generate_key_pair(tmp_path / f"{issuer}.pem", tmp_path / f"{issuer}.pub")
    return tmp_path


@pytest.fixture
def verifier(keys: Path) -> IdentityVerifier:
    return IdentityVerifier(keys, "memory")
