from dataclasses import dataclass, field

import pytest
from flotilla_common.errors import FlotillaError
from flotilla_llm.attempts import Attempts, back_off_s
from flotilla_llm.failures import HANDLING, failure
from flotilla_llm.routes import Retry, Route


@dataclass
class Candidate:
    route: Route = field(
        default_factory=lambda: Route(
            base_url="http://h/v1", model="m", retry=Retry(attempts=3, base_delay_s=0, max_delay_s=2)
        )
    )
    repeats: int = 0
    leaves: int = 0

    def repeated(self) -> None:
        self.repeats += 1

    def left(self) -> None:
        self.leaves += 1


async def asked(candidates: list[Candidate], error: FlotillaError) -> list[int]:
    attempts, order = Attempts(candidates), []
    try:
        async for candidate in attempts:
            order.append(candidates.index(candidate))
            attempts.failed(error)
    except type(error):
        return order
    raise AssertionError("the attempts never ended")


@pytest.mark.parametrize("reason", sorted(HANDLING))
async def test_each_reason_is_handled_as_the_table_says(reason: str) -> None:
    action = HANDLING[reason]

    order = await asked([Candidate(), Candidate()], failure(reason, "no"))

    assert order == [0] * (3 if action.repeats else 1) + [1] * (3 if action.repeats else 1) * action.falls_back


async def test_foreign_error_is_raised_at_once() -> None:
    assert await asked([Candidate(), Candidate()], FlotillaError("bug")) == [0]


async def test_long_retry_after_goes_to_the_next_route_at_once() -> None:
    first, second = Candidate(), Candidate()

    order = await asked([first, second], failure("model_rate_limited", "wait", retry_after_s=60))

    assert order == [0, 1]
    assert (first.repeats, first.leaves) == (0, 1)


def test_back_off_is_exponential_jittered_and_on_top_of_retry_after() -> None:
    retry = Retry(base_delay_s=1, max_delay_s=5)

    assert [back_off_s(retry, n, None, lambda: 1.0) for n in (1, 2, 3, 4)] == [1, 2, 4, 5]
    assert back_off_s(retry, 4, None, lambda: 0.5) == 2.5
    assert back_off_s(retry, 4, 3.0, lambda: 1.0) == 4.0
