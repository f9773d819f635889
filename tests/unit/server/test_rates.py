"""A rate is a token bucket, to the nanosecond; what is remembered of many keys is bounded."""

import sys
import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.server.lifecycle.rates import Limiter, Rate
from support.ticks import NANOSECONDS, Ticks


@pytest.fixture
def ticks():
    return Ticks()


def taken(limiter, key, tries):
    """How many of so many tries were allowed."""
    return sum(limiter.take(key) == 0.0 for _ in range(tries))


@pytest.mark.parametrize(
    ("text", "requests", "seconds"),
    [
        ("100/s", 100, 1),
        ("100/min", 100, 60),
        ("100/hour", 100, 3600),
        ("100/day", 100, 86400),
        ("5/10s", 5, 10),
        ("1/2 days", 1, 172_800),
        (" 100_000 / Minute ", 100_000, 60),
        ("3/m", 3, 60),
    ],
)
def test_rates_are_written_as_django_rest_framework_writes_them_and_for_longer_times(text, requests, seconds):
    assert Rate.parse(text) == Rate(requests, seconds)


@pytest.mark.parametrize(
    "text", ["", "100", "100/", "/s", "0/s", "5/0s", "-5/s", "1.5/s", "5/month", "5/s/s", "ten/s", "5 per s", "1__0/s"]
)
def test_what_is_no_rate_is_told_with_examples(text):
    with pytest.raises(ValueError, match="100/min") as caught:
        Rate.parse(text)
    assert repr(text) in str(caught.value)


def test_the_whole_rate_may_be_taken_at_once_and_no_more(ticks):
    assert taken(Limiter(Rate(100, 60), clock=ticks), "alice", 500) == 100


def test_what_was_taken_flows_back_evenly(ticks):
    limiter = Limiter(Rate(6, 60), clock=ticks)
    assert taken(limiter, "alice", 10) == 6

    assert [(ticks.advance(5), taken(limiter, "alice", 3))[1] for _ in range(6)] == [0, 1, 0, 1, 0, 1]

    ticks.advance(3600)
    assert taken(limiter, "alice", 10) == 6, "and never more than the whole"


def test_who_waits_as_told_is_allowed_and_not_before(ticks):
    limiter = Limiter(Rate(3, 60), clock=ticks)
    taken(limiter, "alice", 3)
    ticks.advance(7)

    wait = limiter.take("alice")

    assert wait == limiter.wait("alice") == 13.0
    ticks.now += 13 * NANOSECONDS - 1
    assert limiter.take("alice") > 0
    ticks.now += 1
    assert (limiter.wait("alice"), limiter.take("alice")) == (0.0, 0.0)


def test_each_key_has_a_rate_of_its_own(ticks):
    limiter = Limiter(Rate(2, 60), clock=ticks)

    assert [taken(limiter, key, 5) for key in ("alice", "bob", ("127.0.0.1", "alice"))] == [2, 2, 2]


def test_asking_how_long_to_wait_counts_nothing_and_remembers_nothing(ticks):
    limiter = Limiter(Rate(1, 60), clock=ticks)

    assert {limiter.wait(f"key {i}") for i in range(10)} == {0.0}
    assert len(limiter) == 0


def test_what_is_charged_beyond_the_rate_is_waited_for(ticks):
    limiter = Limiter(Rate(6, 60), clock=ticks)
    for _ in range(9):
        limiter.charge("alice")

    assert limiter.wait("alice") == 40.0


def test_a_key_that_is_forgotten_begins_anew(ticks):
    limiter = Limiter(Rate(2, 60), clock=ticks)
    taken(limiter, "alice", 2)
    ticks.advance(30)
    taken(limiter, "bob", 2)

    limiter.forget("alice")
    limiter.forget("never seen")

    assert (taken(limiter, "alice", 5), taken(limiter, "bob", 5)) == (2, 0)


class Bucket:
    """The slow, obvious reference: tokens that drip in, in fractions."""

    def __init__(self, rate, now):
        self.rate, self.level, self.now = rate, Fraction(rate.requests), now

    def _drip(self, now):
        flowed = Fraction(now - self.now, NANOSECONDS) * self.rate.requests / self.rate.seconds
        self.level, self.now = min(self.level + flowed, Fraction(self.rate.requests)), now

    def take(self, now):
        self._drip(now)
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return float((1 - self.level) * self.rate.seconds / self.rate.requests)

    def charge(self, now):
        self._drip(now)
        self.level -= 1


STEPS = st.lists(
    st.tuples(
        st.one_of(st.just(0), st.integers(0, 3 * NANOSECONDS), st.integers(0, 10**12)),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["take", "take", "take", "charge"]),
    ),
    max_size=120,
)


@given(st.integers(1, 7), st.integers(1, 90), STEPS)
def test_it_is_a_token_bucket_to_the_nanosecond(requests, seconds, steps):
    rate, ticks = Rate(requests, seconds), Ticks()
    limiter, buckets = Limiter(rate, clock=ticks), {}
    for pause, key, act in steps:
        ticks.now += pause
        bucket = buckets.setdefault(key, Bucket(rate, ticks.now))
        if act == "take":
            assert limiter.take(key) == pytest.approx(bucket.take(ticks.now), abs=1e-9)
        else:
            limiter.charge(key)
            bucket.charge(ticks.now)


def test_of_more_keys_than_it_remembers_those_that_came_last_are_limited(ticks):
    limiter = Limiter(Rate(1, 60), most_keys=1000, clock=ticks)

    for i in range(10_000):
        assert limiter.take(i) == 0.0
        assert len(limiter) <= 1000

    assert all(limiter.take(i) > 0 for i in range(9_500, 10_000))
    assert limiter.take(0) == 0.0, "who has not come for longest is forgotten, and begins anew"


def test_who_keeps_coming_is_not_forgotten_however_many_others_come(ticks):
    limiter = Limiter(Rate(2, 86400), most_keys=100, clock=ticks)
    taken(limiter, "alice", 1)

    for i in range(1000):
        limiter.charge(i)
        if i % 40 == 0:
            limiter.charge("alice")

    assert limiter.wait("alice") > 86400


def test_nothing_stays_in_memory_of_those_who_have_their_whole_rate_again(ticks):
    limiter = Limiter(Rate(5, 60), clock=ticks)
    for i in range(1000):
        limiter.take(i)

    for _ in range(2):
        ticks.advance(61)
        limiter.take("alice")

    assert len(limiter) <= 2


def test_a_debt_is_remembered_longer_than_the_rates_own_time(ticks):
    limiter = Limiter(Rate(1, 60), clock=ticks)
    for _ in range(10):
        limiter.charge("mallory")

    for _ in range(9):
        assert limiter.wait("mallory") > 0
        ticks.advance(60)
        limiter.take("alice")

    ticks.advance(60)
    assert limiter.take("mallory") == 0.0


@pytest.fixture
def hasty():
    """Threads take turns as often as Python lets them."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_threads_together_get_the_rate_and_no_more(ticks, hasty):
    limiter, together, got = Limiter(Rate(5_000, 60), clock=ticks), threading.Barrier(4), []

    def greedy():
        together.wait(10)
        got.append(taken(limiter, "alice", 2_500))

    threads = [threading.Thread(target=greedy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(got) == 5_000
