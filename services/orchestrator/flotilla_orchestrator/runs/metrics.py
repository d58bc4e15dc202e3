"""What the engine counts; labels are bounded, so never ids of people, threads or runs.

Children are bound at once: PromQL's `increase` does not see the first of a series that begins at 1.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from flotilla_orchestrator.model import OutboxKind, RunStatus

_LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_DURATION_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)

_ENDS = [status for status in RunStatus if status.is_terminal or status is RunStatus.WAITING]
_WIRES = ("openai",)
"""Those known here; a caller may name another, whose series then begins with its first run."""


class RunMetrics:
    """The orchestrator's own series, in one place so that their names can be read at once."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.accepted = Counter("flotilla_runs_accepted", "Runs accepted.", ["wire"], registry=registry)
        for wire in _WIRES:
            self.accepted.labels(wire)
        refused = Counter("flotilla_runs_refused", "Starts refused.", ["reason"], registry=registry)
        self.refused = {reason: refused.labels(reason) for reason in ("draining", "capacity")}
        finished = Counter("flotilla_runs_finished", "Runs ended here.", ["status"], registry=registry)
        self.finished = {status: finished.labels(status.name.lower()) for status in _ENDS}
        self.active = Gauge("flotilla_runs_active", "Runs that this process owns.", registry=registry)
        self.duration = Histogram(
            "flotilla_runs_duration_seconds",
            "From accepted or claimed to ended.",
            registry=registry,
            buckets=_DURATION_S,
        )
        self.first_event = Histogram(
            "flotilla_runs_first_event_seconds",
            "From the request to the accepted event.",
            registry=registry,
            buckets=_LATENCY_S,
        )
        self.takeovers = Counter("flotilla_runs_takeovers", "Runs claimed from an ended lease.", registry=registry)
        self.lost_leases = Counter("flotilla_runs_lost_leases", "Runs that another owner took.", registry=registry)
        self.handed_back = Counter("flotilla_runs_handed_back", "Runs released on the way out.", registry=registry)
        self.dead_letters = Counter("flotilla_runs_dead_letters", "Runs given up after crashes.", registry=registry)
        self.reply_restarts = Counter(
            "flotilla_runs_reply_restarts", "Remade replies that differed.", registry=registry
        )
        self.model_retries = Counter("flotilla_runs_model_retries", "Model streams begun again.", registry=registry)
        degradations = Counter(
            "flotilla_runs_degradations", "Runs that went on without a peer.", ["peer"], registry=registry
        )
        self.degradations = {peer: degradations.labels(peer) for peer in ("memory", "tool")}
        self.flush_events = Histogram(
            "flotilla_runs_flush_events",
            "Events one flush stored.",
            registry=registry,
            buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000),
        )
        self.flush_seconds = Histogram(
            "flotilla_runs_flush_seconds", "How long a flush took.", registry=registry, buckets=_LATENCY_S
        )
        self.flush_failures = Counter("flotilla_runs_flush_failures", "Store calls that failed.", registry=registry)
        self.slow_watchers = Counter(
            "flotilla_runs_slow_watchers", "Watchers sent back to the database.", registry=registry
        )
        self.watchers = Gauge("flotilla_runs_watchers", "Open views of runs.", registry=registry)
        sent = Counter("flotilla_outbox_sent", "Entries delivered.", ["kind"], registry=registry)
        self.outbox_sent = _by_kind(sent)
        retried = Counter("flotilla_outbox_retried", "Entries put off.", ["kind"], registry=registry)
        self.outbox_retried = _by_kind(retried)
        dropped = Counter(
            "flotilla_outbox_dropped",
            "Entries given up: refused, too large, or a day old.",
            ["kind"],
            registry=registry,
        )
        self.outbox_dropped = _by_kind(dropped)
        self.outbox_attempts = Histogram(
            "flotilla_outbox_attempts",
            "Attempts an entry needed.",
            registry=registry,
            buckets=(1, 2, 3, 5, 10, 25, 100),
        )


def _by_kind(counter: Counter) -> dict[OutboxKind, Counter]:
    return {kind: counter.labels(kind.name.lower()) for kind in OutboxKind}
