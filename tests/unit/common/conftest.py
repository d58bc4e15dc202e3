"""Fixtures: both issuers' keys, and who signs and verifies by them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.keys import make_keys
from flotilla_common.identity import IdentitySigner, IdentityVerifier


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return make_keys(tmp_path)


@pytest.fixture
def verifier(keys: Path) -> IdentityVerifier:
    return IdentityVerifier(keys, "memory")


@pytest.fixture
def signer(keys: Path) -> IdentitySigner:
    return IdentitySigner("gateway", keys / "gateway.pem")
