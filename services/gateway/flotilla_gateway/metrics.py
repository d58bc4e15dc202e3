"""What Prometheus sees of HTTP requests: the instrumentator's metrics, with every path's failures from the start."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.registry import Collector
from prometheus_fastapi_instrumentator.metrics import default
from starlette.routing import Route


class HttpMetrics:
    """Counts and times requests; `observe` is what the instrumentator calls for each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        kept = _Keeping(registry)
        observe = default(metric_namespace="flotilla", metric_subsystem="gateway", registry=kept)
        assert observe is not None  # noqa: S101  # it is None only for metrics that exist already
        self.observe = observe
        (self._requests,) = kept.counters

    def expect(self, routes: Iterable[Route]) -> None:
        """Shows these routes' failures at 0: of a series that begins at 1, PromQL's `rate` misses the first."""
        for route in routes:
            for method in (route.methods or set()) - {"HEAD"}:
                self._requests.labels(method=method, status="5xx", handler=route.path)


@cache
def http_metrics() -> HttpMetrics:
    """Returns this process's, made once: a registry takes each name only once."""
    return HttpMetrics(REGISTRY)


class _Keeping(CollectorRegistry):
    """Registers with another registry and keeps the counters, which the instrumentator does not hand out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self.counters: list[Counter] = []
        self._registry = registry

    def register(self, collector: Collector) -> None:
        """Registers a metric that was made."""
        self._registry.register(collector)
        if isinstance(collector, Counter):
            self.counters.append(collector)
