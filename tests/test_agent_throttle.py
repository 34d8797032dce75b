"""Wrong keys per address: counted, forgiven over a minute, bounded."""

from agent import throttle
from agent.throttle import FailedLogins


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_may_be_wrong_as_often_as_the_limit_says() -> None:
    failures = FailedLogins(3, Seconds())
    for _ in range(3):
        assert failures.wait("a") is None
        failures.note("a")
    assert failures.wait("a") is not None


def test_after_the_time_that_was_named_one_more_try_is_free() -> None:
    clock = Seconds()
    failures = FailedLogins(3, clock)
    for _ in range(3):
        failures.note("a")
    wait = failures.wait("a")
    assert wait == 20
    clock.now += wait
    assert failures.wait("a") is None
    failures.note("a")
    assert failures.wait("a") is not None


def test_one_address_does_not_pay_for_another() -> None:
    failures = FailedLogins(1, Seconds())
    failures.note("a")
    assert failures.wait("a") is not None
    assert failures.wait("b") is None


def test_the_memory_of_addresses_is_bounded() -> None:
    failures = FailedLogins(1, Seconds())
    for number in range(throttle.MAX_ADDRESSES + 10):
        failures.note(str(number))
    assert len(failures._spent) == throttle.MAX_ADDRESSES
    assert failures.wait(str(throttle.MAX_ADDRESSES + 9)) is not None
