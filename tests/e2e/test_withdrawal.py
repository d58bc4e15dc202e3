"""`helm uninstall` takes everything away but what its notes say it keeps."""

from __future__ import annotations

import time

import pytest

from e2e import figures
from e2e.release import NAME, Release, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def test_uninstall_leaves_the_volume_and_nothing_else(release: Release) -> None:
    began = time.monotonic()

    release.uninstall()

    # helm waits for what it made itself, and the garbage collector takes the pods, which drain.
    wait_until("the last pod is gone", lambda: not release.objects("pods"), patience_s=120)
    figures.note("uninstall", {"seconds": round(time.monotonic() - began, 1)})
    assert [kind_and_name.split()[0] for kind_and_name in release.state()] == ["persistentvolumeclaims"]
    left = release.kubectl("get", "all,secrets,configmaps,ingresses,networkpolicies", "-l", "owner=helm", "-o", "name")
    assert left.split() == [], f"helm's own records of {NAME}"
