"""A training in which something happened is looked at at once, and again only after a rest."""

from uuid import UUID

import pytest

from hansa.server.trainings.pacing import MOST_SECONDS, REST, Pace

ONE, OTHER = UUID(int=1), UUID(int=2)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(clock)


def test_what_happens_first_is_looked_at_at_once_and_once(pace):
    pace.moved({ONE})
    assert pace.seconds(1.0) == 0.0
    assert pace.ready() == {ONE}
    assert pace.ready() == set()


def test_without_anything_there_is_nothing_to_look_at_until_the_sweep(pace):
    assert pace.ready() == set()
    assert pace.seconds(1.0) == 1.0


def test_after_a_look_a_training_rests_for_some_times_as_long(pace, clock):
    pace.looked(ONE, 0.01)
    pace.moved({ONE})
    assert pace.ready() == set()
    assert pace.seconds(1.0) == pytest.approx(REST * 0.01)
    clock.now += REST * 0.01
    assert pace.ready() == {ONE}


def test_many_things_that_happen_meanwhile_are_one_look(pace, clock):
    pace.looked(ONE, 0.01)
    for _ in range(100):
        pace.moved({ONE})
    clock.now += 1
    assert pace.ready() == {ONE}
    assert pace.ready() == set()


def test_nobody_rests_for_long(pace, clock):
    pace.looked(ONE, 10.0)
    pace.moved({ONE})
    assert pace.seconds(1.0) == pytest.approx(MOST_SECONDS)


def test_one_that_rests_holds_up_no_other(pace):
    pace.looked(ONE, 0.01)
    pace.moved({ONE, OTHER})
    assert pace.seconds(1.0) == 0.0
    assert pace.ready() == {OTHER}
