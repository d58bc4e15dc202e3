"""What the cluster and helm say, as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


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


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the release."""

    name: str
    service: str
    is_ready: bool
    created: datetime
    restarts: int
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class Release:
    """All that the cluster runs of a release."""

    workloads: Sequence[Workload]
    pods: Sequence[Pod]


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
