"""The memory service's own metrics; labels are bounded and never name a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram

from flotilla_memory.model import MemoryKind

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class RecalledBy(StrEnum):
    """What a question was compared by."""

    EMBEDDING = "embedding"
    WORDS = "words"
    NOTHING = "nothing"
    """There was nothing to compare it with."""


class MemoryMetrics:
    """Counts what is stored, recalled and degraded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        recalls = Counter("flotilla_memory_recalls", "Questions answered.", ["by"], registry=registry)
        self._recalls = {by: recalls.labels(by) for by in RecalledBy}
        self._degraded = Counter(
            "flotilla_memory_recall_degradations", "Questions that could not be embedded.", registry=registry
        )
        self._recalled = Histogram(
            "flotilla_memory_recalled_memories",
            "Memories recalled for one question.",
            buckets=(0, 1, 2, 4, 8, 16, 32, 50),
            registry=registry,
        )
        stored = Counter("flotilla_memory_stored", "Memories stored.", ["kind", "result"], registry=registry)
        self._stored = {
            (kind, is_new): stored.labels(kind.name.lower(), "new" if is_new else "known")
            for kind in MemoryKind
            for is_new in (True, False)
        }
        self._embedding_seconds = Histogram(
            "flotilla_memory_embedding_seconds",
            "Time for one embedding, failures included.",
            buckets=_SECONDS,
            registry=registry,
        )

    def recalled(self, count: int, by: RecalledBy) -> None:
        """Counts one answered question."""
        self._recalls[by].inc()
        self._recalled.observe(count)

    def degraded(self) -> None:
        """Counts a question that could not be embedded."""
        self._degraded.inc()

    def stored(self, kind: MemoryKind, *, is_new: bool) -> None:
        """Counts one write; `is_new` is False when the same had been stored before."""
        self._stored[kind, is_new].inc()

    @contextmanager
    def embedding_time(self) -> Iterator[None]:
        """Measures one embedding."""
        with self._embedding_seconds.time():
            yield
