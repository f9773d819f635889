"""The log tells what is decided; why, which may name clients, it does not."""

from typing import get_args

from hansa.rounds.decisions import Decision, OpenRound
from hansa.server.trainings.headlines import headline

NAMING = "dave was lost: its endpoint answered 500"


def test_every_decision_has_a_headline_and_none_repeats_the_reason():
    begins = headline(OpenRound(3, 2, NAMING))
    others = [headline(kind(NAMING)) for kind in get_args(Decision) if kind is not OpenRound]

    assert begins == "round 3 begins, attempt 2"
    assert all(others)
    assert len(set(others)) == len(others)
    assert not any("dave" in each for each in (begins, *others))
