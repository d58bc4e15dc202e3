"""What the chart's checks share: the cases, rendered once."""

from __future__ import annotations

from functools import cache

import pytest
from render import CASES, Manifest, manifests


@cache
def _rendered(case: str) -> tuple[Manifest, ...]:
    return tuple(manifests(case))


@pytest.fixture(params=list(CASES))
def rendered(request: pytest.FixtureRequest) -> list[Manifest]:
    """Every case's manifests, one after another."""
    return list(_rendered(request.param))


@pytest.fixture
def development() -> list[Manifest]:
    """The manifests of a trial."""
    return list(_rendered("development"))


@pytest.fixture
def production() -> list[Manifest]:
    """The manifests with stores of one's own."""
    return list(_rendered("production"))


@pytest.fixture
def two_colours() -> list[Manifest]:
    """The manifests of blue beside green, which is active."""
    return list(_rendered("two-colours"))
