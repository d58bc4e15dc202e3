"""What the engine counts; labels are bounded, so never ids of people, threads or runs."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_DURATION_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class RunMetrics:
    """The orchestrator's own series, in one place so that their names can be read at once."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.accepted = Counter("flotilla_runs_accepted", "Runs accepted.", ["wire"], registry=registry)
        self.refused = Counter("flotilla_runs_refused", "Starts refused.", ["reason"], registry=registry)
        self.finished = Counter("flotilla_runs_finished", "Runs ended here.", ["status"], registry=registry)
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
        self.degradations = Counter(
            "flotilla_runs_degradations", "Runs that went on without a peer.", ["peer"], registry=registry
        )
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
        self.outbox_sent = Counter("flotilla_outbox_sent", "Entries delivered.", ["kind"], registry=registry)
        self.outbox_retried = Counter("flotilla_outbox_retried", "Entries put off.", ["kind"], registry=registry)
        self.outbox_dropped = Counter(
            "flotilla_outbox_dropped", "Entries that the peer refuses for good.", ["kind"], registry=registry
        )
        self.outbox_attempts = Histogram(
            "flotilla_outbox_attempts",
            "Attempts an entry needed.",
            registry=registry,
            buckets=(1, 2, 3, 5, 10, 25, 100),
        )
