"""A caller may send so many pictures a minute and a full request at once, and no number of callers fills the memory."""

import pytest

from skinai.service.rates import MOST_CALLERS, RateLimit, name_caller


class Clock:
    """A clock that stands until it is moved; it begins anywhere, as the monotonic one does."""

    def __init__(self):
        self.now_s = 98_765.4

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_a_full_request_passes_at_once_and_then_a_steady_rate(clock):
    rate = RateLimit(60, burst=16, now=clock)
    assert rate.take("a", 16) == 0
    assert rate.take("a", 1) == 1
    clock.now_s += 0.5
    assert rate.take("a", 1) == 1
    clock.now_s += 0.5
    assert rate.take("a", 1) == 0
    assert rate.take("a", 16) == 16
    clock.now_s += 16
    assert rate.take("a", 16) == 0


def test_in_an_hour_nobody_gets_more_than_the_rate_and_one_burst(clock):
    rate, taken = RateLimit(7, burst=16, now=clock), 0
    for _ in range(36_000):
        taken += rate.take("a", 1) == 0
        clock.now_s += 0.1
    assert taken in (16 + 7 * 60 - 1, 16 + 7 * 60)


@pytest.mark.parametrize("per_minute", [1, 7, 60, 1000])
@pytest.mark.parametrize("count", [1, 5, 16])
def test_whoever_waits_as_long_as_told_is_answered_and_a_second_less_is_not_enough(clock, per_minute, count):
    rate = RateLimit(per_minute, burst=16, now=clock)
    assert rate.take("a", 16) == 0
    wait_s = rate.take("a", count)
    assert wait_s >= 1
    clock.now_s += wait_s - 1
    assert rate.find_wait_s("a", count) == 1
    clock.now_s += 1
    assert rate.take("a", count) == 0


def test_asking_takes_nothing_and_a_refused_request_neither(clock):
    rate = RateLimit(60, burst=16, now=clock)
    assert rate.take("a", 10) == 0
    for _ in range(5):
        assert rate.find_wait_s("a", 1) == 0
        assert rate.take("a", 7) == 1
    assert rate.take("a", 6) == 0


def test_each_caller_has_a_bucket_of_its_own(clock):
    rate = RateLimit(60, burst=16, now=clock)
    assert rate.take("a", 16) == 0
    assert rate.take("b", 16) == 0
    assert rate.take("a", 1) == rate.take("b", 1) == 1


def test_what_is_given_back_can_be_taken_again_but_never_more_than_a_full_bucket(clock):
    rate = RateLimit(60, burst=16, now=clock)
    assert rate.take("a", 16) == 0
    rate.give_back("a", 16)
    assert rate.take("a", 16) == 0
    rate.give_back("a", 100)
    assert rate.take("a", 16) == 0
    assert rate.take("a", 1) == 1


def test_however_many_callers_ask_only_so_many_buckets_are_kept(clock):
    rate = RateLimit(60, burst=16, now=clock)
    assert rate.take("steady", 16) == 0
    for number in range(3 * MOST_CALLERS):
        rate.take(f"caller {number}", 1)
        if number % 100 == 0:
            clock.now_s += 1
            assert rate.take("steady", 1) == 0
            assert rate.take("steady", 1) == 1
    assert rate.callers == MOST_CALLERS


def test_who_only_asks_in_vain_takes_no_place(clock):
    rate = RateLimit(60, burst=16, now=clock)
    rate.find_wait_s("a", 1)
    assert rate.callers == 0


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_of_ipv6_a_network_counts_as_one_caller(address, caller):
    assert name_caller(address) == caller


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 16), (1, 0), (-5, 16)])
def test_a_rate_that_lets_nothing_pass_is_refused(per_minute, burst):
    with pytest.raises(ValueError, match="All are at least 1"):
        RateLimit(per_minute, burst=burst)
