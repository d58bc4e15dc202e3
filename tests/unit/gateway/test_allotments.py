"""What is taken ahead passes once, in its own second, is asked for at the key's pace, and is given back unused."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from flotilla_gateway.limits.allotment import MOST_AHEAD_PERCENT, Allotments, Grant, Order
from flotilla_gateway.limits.window import SECONDS_KEPT, Verdict
from hypothesis import given
from hypothesis import strategies as st

LIMIT = 6000
KEY = "k"


class Shared:
    """One key's window as Redis counts it, and what really passed, both by Redis's seconds."""

    def __init__(self, limit: int = LIMIT, *, starts_at: float = 1000.0) -> None:
        self.limit = limit
        self.starts_at = starts_at
        self.counted: Counter[int] = Counter()
        self.passed: Counter[int] = Counter()
        self.questions = 0

    def second(self, now: float) -> int:
        return math.floor(self.starts_at + now)

    def ask(self, order: Order, now: float) -> Grant:
        self.questions += 1
        second = self.second(now)
        if self.counted[order.second] >= order.unused:
            self.counted[order.second] -= order.unused
        second_left_s = second + 1 - (self.starts_at + now)
        remaining = self.limit - self.in_window(now) - 1
        if remaining < 0:
            return Grant(Verdict(False, self.limit, 0, 1.0, 60.0), 0, second, second_left_s)
        ahead = min(math.ceil(order.wanted * second_left_s), remaining * MOST_AHEAD_PERCENT // 100)
        self.counted[second] += 1 + ahead
        return Grant(Verdict(True, self.limit, remaining, 0.0, 60 + second_left_s), ahead, second, second_left_s)

    def in_window(self, now: float) -> int:
        return sum(count for second, count in self.counted.items() if second > self.second(now) - SECONDS_KEPT)


class Gateway:
    """One gateway's allotments, with a clock that stands until it is moved; delay_s: to Redis, and back."""

    def __init__(self, shared: Shared, *, delay_s: float = 0.0) -> None:
        self.shared = shared
        self.delay_s = delay_s
        self.now = 0.0
        self.held = Allotments(clock=lambda: self.now, most_keys=3)

    def take(self, key: str = KEY, *, per_minute: int | None = None) -> Verdict | None:
        return self.held.take(key, per_minute=per_minute or self.shared.limit)

    def ask(self, order: Order) -> Verdict:
        asked_at = self.now
        grant = self.shared.ask(order, asked_at + self.delay_s)
        self.now += 2 * self.delay_s
        self.held.put(KEY, grant, asked_at=asked_at)
        self.shared.passed[grant.second] += grant.verdict.is_allowed
        return grant.verdict

    def request(self) -> Verdict:
        """Lets one request pass, which is counted now when nothing is left of what was counted before."""
        verdict = self.take()
        if verdict is None:
            return self.ask(self.held.order(KEY))
        self.shared.passed[self.shared.second(self.now)] += 1
        return verdict

    def requests(self, number: int) -> None:
        for _ in range(number):
            assert self.request().is_allowed


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(Shared())


def test_what_was_counted_ahead_passes_once_and_says_what_remains(gateway: Gateway) -> None:
    first = gateway.ask(Order(wanted=3))
    gateway.now = 0.5

    verdicts = [gateway.take() for _ in range(4)]

    assert first == Verdict(True, LIMIT, LIMIT - 1, 0.0, 61.0)
    assert verdicts == [Verdict(True, LIMIT, LIMIT - passed, 0.0, 60.5) for passed in (2, 3, 4)] + [None]


def test_nothing_that_was_counted_ahead_passes_after_its_second() -> None:
    gateway = Gateway(Shared(starts_at=1000.75))
    gateway.ask(Order(wanted=12))

    gateway.now = 0.2499
    in_time = gateway.take()
    gateway.now = 0.25

    assert in_time is not None
    assert gateway.take() is None
    assert gateway.held.order(KEY).unused == 2


def test_key_takes_nothing_of_another_key_or_another_limit(gateway: Gateway) -> None:
    gateway.ask(Order(wanted=3))

    assert gateway.take("another") is None
    assert gateway.take(per_minute=LIMIT - 1) is None
    assert gateway.take() is not None


def test_key_that_is_new_slow_or_was_quiet_takes_nothing_ahead(gateway: Gateway) -> None:
    new = gateway.held.order(KEY)
    gateway.requests(7)
    gateway.now = 1.0
    slow = gateway.held.order(KEY)
    gateway.requests(80)
    gateway.now = 3.0

    assert (new, slow.wanted, gateway.held.order(KEY).wanted) == (Order(), 0, 0)


def test_pace_of_the_last_second_is_taken_ahead_and_topped_up_in_parts(gateway: Gateway) -> None:
    gateway.requests(80)
    in_its_second = gateway.held.order(KEY).wanted
    gateway.now = 1.0
    in_the_next = gateway.held.order(KEY).wanted
    gateway.ask(Order())
    after_a_first = gateway.held.order(KEY).wanted
    gateway.requests(79)

    assert (in_its_second, in_the_next, after_a_first) == (10, 70, 69)
    assert gateway.held.order(KEY).wanted == 10


def test_pace_is_known_although_a_second_began_while_redis_was_asked() -> None:
    gateway = Gateway(Shared(), delay_s=0.01)
    for _ in range(60):
        gateway.request()
    gateway.now = 0.995
    gateway.ask(gateway.held.order(KEY))

    assert gateway.held.order(KEY).wanted >= 30


def test_what_is_left_over_is_given_back_once(gateway: Gateway) -> None:
    gateway.ask(Order(wanted=30))
    gateway.now = 1.5

    orders = [gateway.held.order(KEY) for _ in range(2)]

    assert [(order.unused, order.second) for order in orders] == [(30, 1000), (0, 1000)]


def test_refusal_leaves_what_is_held(gateway: Gateway) -> None:
    gateway.ask(Order(wanted=1))

    gateway.held.put(KEY, Grant(Verdict(False, LIMIT, 0, 1.0, 60.0), 0, 1000, 1.0), asked_at=0.0)

    assert gateway.take() is not None


def test_keys_that_were_quiet_are_forgotten(gateway: Gateway) -> None:
    grant = Grant(Verdict(True, LIMIT, 5, 0.0, 60.0), 4, 1000, 1.0)
    for number in range(3):
        gateway.held.put(f"old {number}", grant, asked_at=0.0)
    gateway.now = 2.5
    gateway.held.put("new", grant, asked_at=2.5)

    assert [gateway.held.order(f"old {number}") for number in range(3)] == [Order()] * 3
    assert gateway.held.order("new").unused == 4


@given(
    st.lists(st.tuples(st.floats(0, 0.4), st.integers(0, 2), st.integers(1, 40)), max_size=40),
    st.floats(0, 0.05),
    st.floats(1000, 1001),
    st.sampled_from((150, 600, 6000)),
)
def test_no_second_sees_more_pass_than_was_counted_and_nobody_is_refused_early(
    bursts: list[tuple[float, int, int]], delay_s: float, starts_at: float, limit: int
) -> None:
    shared = Shared(limit, starts_at=starts_at)
    gateways = [Gateway(shared, delay_s=delay_s) for _ in range(3)]
    now = 0.0
    for pause_s, number, requests in bursts:
        now += pause_s
        gateway = gateways[number]
        gateway.now = now
        for _ in range(requests):
            verdict = gateway.request()
            assert all(shared.counted[second] >= passed for second, passed in shared.passed.items())
            # Each of the others holds back a hundredth at most of what remained when it took it.
            assert verdict.is_allowed or shared.passed.total() >= limit * 0.97 - 3
        now = gateway.now


def test_steady_key_is_asked_about_a_few_times_a_second_and_counted_as_often_as_it_passes() -> None:
    gateway = Gateway(Shared(600_000), delay_s=0.003)
    shared = gateway.shared
    for number in range(5_000):
        gateway.now = max(gateway.now, number / 500)
        gateway.request()

    assert shared.passed.total() == 5_000
    assert shared.questions < 500
    # What is left over of the last second is not given back yet.
    for second in range(1000, 1010):
        assert shared.counted[second] == shared.passed[second]
