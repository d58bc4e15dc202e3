"""What the cluster and helm say, as values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_FAILED = re.compile(r'\w+ "[^"]*" failed')


@dataclass(frozen=True, slots=True)
class Workload:
    """A service's Deployment in one colour."""

    name: str
    service: str
    color: str
    image: str
    desired: int
    updated: int
    ready: int
    is_settled: bool
    """Whether all pods are of the wanted kind and ready."""
    refusal: str = ""
    """Why pods cannot even be made, such as a quota."""

    @property
    def has_enough(self) -> bool:
        """Tells whether as many pods are ready as there should be."""
        return self.ready >= self.desired


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a container does not run."""

    container: str
    reason: str
    message: str
    has_started_before: bool
    """Whether the interesting log is the one of the container's last start."""
    missing_image: str = ""
    """The image that the node cannot get, if that is the reason."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the release."""

    name: str
    service: str
    is_ready: bool
    created: datetime
    restarts: int
    trouble: Trouble | None
    job: str = ""
    """The Job that it works for, if it does not serve."""


@dataclass(frozen=True, slots=True)
class Release:
    """All that the cluster runs of a release."""

    workloads: Sequence[Workload]
    pods: Sequence[Pod]
    leaving: int
    """Pods that were told to go and still finish what they have."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One entry of a release's history."""

    number: int
    updated: datetime
    status: str
    chart: str
    app_version: str
    description: str

    @property
    def is_pending(self) -> bool:
        """Tells whether helm is at work on it, or was killed while it was."""
        return self.status.startswith("pending-")

    @property
    def is_deployed(self) -> bool:
        """Tells whether it is the one that runs."""
        return self.status == "deployed"

    @property
    def ever_ran(self) -> bool:
        """Tells whether it was deployed once; helm calls one that failed superseded too, when its undoing fails."""
        return self.status in ("superseded", "deployed") and not _FAILED.match(self.description)
