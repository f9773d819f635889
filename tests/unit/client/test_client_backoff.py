"""Waits before trying again: random, growing, bounded."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from hansa.client.backoff import Backoff


def dice(seed):
    return Random(seed)  # noqa: S311 - waits are no secret


class Highest(Random):
    def uniform(self, a, b):
        return b


def test_the_bound_doubles_from_base_to_cap_and_stays_there():
    backoff = Backoff(Highest(), base=0.1, cap=10.0)
    assert [backoff.next() for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_after_success_it_begins_anew():
    backoff = Backoff(Highest(), base=0.1, cap=10.0)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.next() == 0.1


@given(seed=st.integers(), attempts=st.integers(1, 2000))
def test_every_wait_is_between_nothing_and_the_cap(seed, attempts):
    backoff = Backoff(dice(seed))
    assert all(0 <= backoff.next() <= 10.0 for _ in range(attempts))


@given(seed=st.integers(), asked=st.floats(0, 1000))
def test_a_server_that_asks_for_peace_gets_it_and_the_jitter_on_top(seed, asked):
    assert asked <= Backoff(dice(seed)).next(at_least=asked) <= asked + 0.1


def test_two_clients_cut_off_together_do_not_come_back_together():
    one, other = Backoff(dice(1)), Backoff(dice(2))
    assert [one.next() for _ in range(5)] != [other.next() for _ in range(5)]
