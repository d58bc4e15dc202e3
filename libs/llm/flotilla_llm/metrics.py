"""What Prometheus sees of the model layer; labels are routes and reasons, children are bound once a route."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from flotilla_llm.failures import HANDLING

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class ModelMetrics:
    """The metric families of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.first_token = Histogram(
            "flotilla_model_first_token_seconds",
            "Time from a streamed call's begin to its first token.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.duration = Histogram(
            "flotilla_model_call_seconds",
            "Time that an attempt took, whatever its end.",
            ["route", "operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.tokens = Counter("flotilla_model_tokens", "Tokens read and written.", ["route", "kind"], registry=registry)
        self.cost = Counter(
            "flotilla_model_cost_micro_usd", "Cost by the routes' prices.", ["route"], registry=registry
        )
        self.errors = Counter(
            "flotilla_model_errors", "Attempts that failed, by reason.", ["route", "reason"], registry=registry
        )
        self.retries = Counter(
            "flotilla_model_retries", "Attempts beyond a call's first on its route.", ["route"], registry=registry
        )
        self.fallbacks = Counter(
            "flotilla_model_fallbacks", "Calls that left this route for the next.", ["route"], registry=registry
        )
        self.in_flight = Gauge("flotilla_model_calls_in_flight", "Calls under way.", ["route"], registry=registry)
        self.breaker = Gauge(
            "flotilla_model_breaker_state", "0 closed, 1 probing, 2 open.", ["route"], registry=registry
        )


class RouteMetrics:
    """The children of one route."""

    def __init__(self, metrics: ModelMetrics, route: str) -> None:
        self.first_token = metrics.first_token.labels(route)
        self.duration = {kind: metrics.duration.labels(route, kind) for kind in ("chat", "embeddings")}
        self.input_tokens = metrics.tokens.labels(route, "input")
        self.output_tokens = metrics.tokens.labels(route, "output")
        self.cost = metrics.cost.labels(route)
        self.errors = {reason: metrics.errors.labels(route, reason) for reason in (*HANDLING, "other")}
        self.retries = metrics.retries.labels(route)
        self.fallbacks = metrics.fallbacks.labels(route)
        self.in_flight = metrics.in_flight.labels(route)
        self.breaker = metrics.breaker.labels(route)


@cache
def metrics_in(registry: CollectorRegistry) -> ModelMetrics:
    """Returns the registry's families; a registry takes each name only once."""
    return ModelMetrics(registry)
