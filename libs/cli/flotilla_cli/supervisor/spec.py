"""What the supervisor has to know about a process."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from signal import SIGTERM, Signals

Check = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process: what runs, with which settings, and how one knows that it is ready."""

    name: str
    command: tuple[str, ...]
    is_ready: Check
    replica: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the process; nothing is inherited."""

    ports: Mapping[str, int] = field(default_factory=dict)
    stop_signal: Signals = SIGTERM
    stop_timeout_s: float = 10.0
    """How long it may take to end by itself before it is killed."""

    uid: int | None = None
    gid: int | None = None

    @property
    def label(self) -> str:
        """The process among its replicas, `orchestrator-2`."""
        return f"{self.name}-{self.replica}"
