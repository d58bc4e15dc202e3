"""A circuit breaker: leaves a failing route alone, then lets one call probe it."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from flotilla_llm.failures import failure
from flotilla_llm.routes import Breaker


class BreakerState(IntEnum):
    """Where a breaker stands; the numbers are the metric's."""

    CLOSED = 0
    PROBING = 1
    OPEN = 2


class CircuitBreaker:
    """Counts failures in a row and refuses calls while the route is presumed down."""

    def __init__(self, name: str, settings: Breaker, clock: Callable[[], float]) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._failures = 0
        self._open_s = settings.open_s
        self._open_until = 0.0
        self.state = BreakerState.CLOSED

    def enter(self) -> None:
        """Lets a call begin, or raises model_circuit_open with the seconds left."""
        if self.state is BreakerState.CLOSED:
            return
        left = self._open_until - self._clock()
        if self.state is BreakerState.PROBING or left > 0:
            raise failure(
                "model_circuit_open",
                f"The model route {self._name!r} failed repeatedly and is left alone for a while.",
                retry_after_s=max(left, 1.0),
            )
        self.state = BreakerState.PROBING

    def succeeded(self) -> None:
        """Notes that the route answers."""
        self._failures = 0
        self._open_s = self._settings.open_s
        self.state = BreakerState.CLOSED

    def failed(self) -> None:
        """Notes a failure of the route's; opens after enough of them in a row, and for longer after a failed probe."""
        self._failures += 1
        if self.state is BreakerState.PROBING:
            self._open_s = min(self._open_s * 2, self._settings.max_open_s)
        elif self._failures < self._settings.failures:
            return
        self.state = BreakerState.OPEN
        self._open_until = self._clock() + self._open_s

    def abandoned(self) -> None:
        """Notes that a call ended without telling anything about the route, such as a cancelled one."""
        if self.state is BreakerState.PROBING:
            self.state = BreakerState.OPEN
