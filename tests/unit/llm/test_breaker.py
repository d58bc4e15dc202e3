import pytest
from flotilla_common.errors import UnavailableError
from flotilla_llm.breaker import BreakerState, CircuitBreaker
from flotilla_llm.routes import Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker("r", Breaker(failures=2, open_s=10, max_open_s=15), clock)
    for _ in range(2):
        breaker.enter()
        breaker.failed()
    return breaker


def refused(breaker: CircuitBreaker) -> float:
    with pytest.raises(UnavailableError) as caught:
        breaker.enter()
    assert caught.value.reason == "model_circuit_open"
    return caught.value.retry_after_s or 0


def test_breaker_opens_after_failures_in_a_row(breaker: CircuitBreaker) -> None:
    assert refused(breaker) == 10


def test_success_between_failures_keeps_it_closed(clock: Clock) -> None:
    breaker = CircuitBreaker("r", Breaker(failures=2), clock)

    breaker.failed()
    breaker.succeeded()
    breaker.failed()

    assert breaker.state is BreakerState.CLOSED


def test_one_probe_is_let_in_and_its_success_closes(breaker: CircuitBreaker, clock: Clock) -> None:
    clock.now = 10

    breaker.enter()
    refused(breaker)
    breaker.succeeded()

    breaker.enter()
    assert breaker.state is BreakerState.CLOSED


def test_failed_probe_opens_for_longer(breaker: CircuitBreaker, clock: Clock) -> None:
    clock.now = 10
    breaker.enter()
    breaker.failed()

    assert refused(breaker) == 15


def test_cancelled_probe_lets_the_next_call_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    clock.now = 10
    breaker.enter()
    breaker.abandoned()

    breaker.enter()

    assert breaker.state is BreakerState.PROBING
