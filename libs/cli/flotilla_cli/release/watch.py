"""Watches a release while helm changes it: progress by service, and what the failing pods had to say."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flotilla_cli.failure import CommandError
from flotilla_cli.release.cluster import Cluster
from flotilla_cli.release.model import Pod, Release, Workload

POLL_S = 1.0
HOPE_S = 30.0
"""How long an image that cannot be pulled may be a registry's hiccup; the node has tried three times by then."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A pod that does not come up, and why."""

    pod: Pod
    reason: str
    log: list[str]
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class RolloutWatch:
    """Looks at the cluster from time to time and tells what has changed."""

    cluster: Cluster
    tell: Callable[[str, str], None]
    """Takes a service and what is new about it."""
    patience_s: float = 10.0
    """After how long a pod that gives no reason is asked about."""
    failures: dict[str, Failure] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    last: Release | None = None
    _told: dict[str, str] = field(default_factory=dict)
    _ask_at: dict[str, float] = field(default_factory=dict)
    _is_deaf: bool = False
    _earlier: frozenset[str] | None = None

    def follow(self, process: subprocess.Popen[str], notice: Callable[[], None] = lambda: None) -> None:
        """Looks until the process has ended, and calls `notice` after each look."""
        while True:
            self.look()
            notice()
            try:
                process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue
            return

    def look(self) -> None:
        """Takes notice of the present state; a cluster that does not answer is passed over until it does."""
        try:
            release = self.cluster.read()
            self._notice(release)
        except CommandError as failure:
            self._complain(failure)
            return
        self._is_deaf = False
        self.last = release

    def settle(self, patience_s: float = 60.0) -> None:
        """Looks until only pods of the new kind take requests: helm waits until they are ready, not until they do."""
        deadline = time.monotonic() + patience_s
        self.look()
        while time.monotonic() < deadline and not self._is_settled():
            time.sleep(POLL_S)
            self.look()

    def missing_image(self) -> str:
        """Returns the image that a new pod has been without for so long that it will not come; mostly none."""
        for failure in self.failures.values():
            image = failure.pod.trouble.missing_image if failure.pod.trouble else ""
            is_over = time.monotonic() - failure.since >= HOPE_S
            if image and is_over and self.is_new(failure.pod):
                return image
        return ""

    def newest_failures(self) -> list[Failure]:
        """Returns one failure for each service, of its newest pod."""
        found = sorted(self.failures.values(), key=lambda failure: failure.pod.created)
        return list({failure.pod.service: failure for failure in found}.values())

    def is_new(self, pod: Pod) -> bool:
        """Tells whether a pod was not there at the first look."""
        return self._earlier is not None and pod.name not in self._earlier

    def _is_settled(self) -> bool:
        return self.last is not None and all(workload.is_settled for workload in self.last.workloads)

    def _notice(self, release: Release) -> None:
        if self._earlier is None:
            self._earlier = frozenset(pod.name for pod in release.pods)
        for workload in release.workloads:
            self._say(workload.name, _label(workload), _progress(workload))
            if workload.refusal:
                self.refusals[workload.service] = workload.refusal
        for pod in release.pods:
            self._notice_pod(pod)

    def _notice_pod(self, pod: Pod) -> None:
        if pod.job and self.is_new(pod) and pod.trouble is None:
            self._say(pod.job, pod.service, "done" if pod.is_ready else "at work")
        if pod.is_ready:
            self.failures.pop(pod.name, None)
            return
        if pod.trouble is None:
            self._notice_laggard(pod)
            return
        known = self.failures.get(pod.name)
        reason = ": ".join(part for part in (pod.trouble.reason, pod.trouble.message) if part)
        if known and known.pod.restarts == pod.restarts and known.reason == reason:
            return
        # Read now: when helm goes back, the pod is gone, and so is its log.
        log = self._read_log(pod) or (known.log if known else [])
        self.failures[pod.name] = Failure(pod, reason, log, known.since if known else time.monotonic())
        if self.is_new(pod) and pod.name not in self._told:
            self._say(pod.name, pod.service, reason)

    def _notice_laggard(self, pod: Pod) -> None:
        """Asks for Kubernetes' own warnings, such as of a Secret that is missing, once a pod takes long."""
        now = time.monotonic()
        if now < self._ask_at.setdefault(pod.name, now + self.patience_s):
            return
        self._ask_at[pod.name] = now + self.patience_s
        if warnings := self.cluster.read_warnings(pod.name):
            self.failures[pod.name] = Failure(pod, warnings[-1], [])

    def _read_log(self, pod: Pod) -> list[str]:
        trouble = pod.trouble
        if trouble is None or not trouble.container:
            return []
        return self.cluster.read_log(pod.name, trouble.container, previous=trouble.has_started_before)

    def _say(self, key: str, label: str, text: str) -> None:
        is_first = key not in self._told
        if self._told.get(key) == text:
            return
        self._told[key] = text
        # What has been there from the beginning is no news.
        if not (is_first and self.last is None and text.endswith("ready")):
            self.tell(label, text)

    def _complain(self, failure: CommandError) -> None:
        if not self._is_deaf:
            self.tell("cluster", f"{failure}; helm goes on")
        self._is_deaf = True


def _label(workload: Workload) -> str:
    return f"{workload.service} {workload.color}".strip()


def _progress(workload: Workload) -> str:
    if workload.is_settled:
        return f"{workload.ready}/{workload.desired} ready"
    return f"{workload.updated}/{workload.desired} updated, {workload.ready} ready"
