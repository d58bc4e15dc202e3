"""What is taken ahead passes once, in its own second, and is asked for at the pace of its key."""

from __future__ import annotations

from flotilla_gateway.limits.allotment import Allotments, Grant
from flotilla_gateway.limits.window import Verdict
from hypothesis import given
from hypothesis import strategies as st

LIMIT = 6000
KEY = "k"


class Gateway:
    """Allotments with a clock that stands until it is moved, and the count of what was counted for them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counted = 0
        self.held = Allotments(clock=lambda: self.now, most_keys=3)

    def put(self, ahead: int, *, key: str = KEY, second_left_s: float = 1.0, is_allowed: bool = True) -> None:
        self.counted += (1 + ahead) * is_allowed
        remaining = LIMIT - self.counted + ahead if is_allowed else 0
        verdict = Verdict(is_allowed, LIMIT, remaining, 0.0, 60 + second_left_s)
        self.held.put(key, Grant(verdict, ahead, second_left_s), asked_at=self.now)

    def take(self, key: str = KEY, *, per_minute: int = LIMIT) -> Verdict | None:
        return self.held.take(key, per_minute=per_minute)

    def pass_by(self, requests: int) -> None:
        """Lets requests pass, each of which is counted when nothing is left."""
        for _ in range(requests):
            if self.take() is None:
                self.put(self.held.wanted(KEY))


def test_what_was_counted_ahead_passes_once_and_says_what_remains() -> None:
    gateway = Gateway()
    gateway.put(3)
    gateway.now = 0.5

    verdicts = [gateway.take() for _ in range(4)]

    assert verdicts == [Verdict(True, LIMIT, LIMIT - passed, 0.0, 60.5) for passed in (2, 3, 4)] + [None]


def test_nothing_that_was_counted_ahead_passes_after_its_second() -> None:
    gateway = Gateway()
    gateway.put(3, second_left_s=0.25)

    gateway.now = 0.2499
    in_time = gateway.take()
    gateway.now = 0.25

    assert in_time is not None
    assert gateway.take() is None


def test_key_takes_nothing_of_another_key_or_another_limit() -> None:
    gateway = Gateway()
    gateway.put(3)

    assert gateway.take("another") is None
    assert gateway.take(per_minute=LIMIT - 1) is None
    assert gateway.take() is not None


def test_key_that_is_new_or_was_quiet_takes_nothing_ahead() -> None:
    gateway = Gateway()
    new = gateway.held.wanted(KEY)
    gateway.pass_by(80)
    gateway.now = 2.0

    assert (new, gateway.held.wanted(KEY)) == (0, 0)


def test_pace_of_the_last_second_is_taken_ahead_and_topped_up_in_parts() -> None:
    gateway = Gateway()
    gateway.pass_by(80)
    in_its_second = gateway.held.wanted(KEY)

    gateway.now = 1.0
    in_the_next = gateway.held.wanted(KEY)
    gateway.put(in_the_next)
    gateway.pass_by(in_the_next)

    assert (in_its_second, in_the_next) == (10, 70)
    assert gateway.held.wanted(KEY) == 8


def test_refusal_leaves_what_is_held() -> None:
    gateway = Gateway()
    gateway.put(1)

    gateway.put(0, is_allowed=False)

    assert gateway.take() is not None


def test_keys_that_were_quiet_are_forgotten() -> None:
    gateway = Gateway()
    for number in range(3):
        gateway.put(1, key=f"old {number}")
    gateway.now = 2.5
    gateway.put(1, key="new")

    assert list(gateway.held._held) == ["new"]


@given(st.lists(st.tuples(st.floats(0, 0.4), st.integers(0, 30)), max_size=40))
def test_no_request_passes_that_was_not_counted(pace: list[tuple[float, int]]) -> None:
    gateway, passed = Gateway(), 0
    for pause_s, requests in pace:
        gateway.now += pause_s
        gateway.pass_by(requests)
        passed += requests
        assert passed <= gateway.counted <= LIMIT
