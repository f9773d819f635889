"""The plan's `late` section: what it may say, and what does not go together with it."""

import math

import msgspec
import pytest

from hansa.rounds import plan as plans
from hansa.rounds.plan import Discard, Fold, UnsoundPlanError


def test_late_updates_are_discarded_unless_the_plan_folds_them():
    assert plans.parse({"rounds": 1}).late == Discard()
    assert plans.parse({"rounds": 1, "late": {"kind": "fold"}}).late == Fold(exponent=0.5, max_staleness=1)


def test_it_is_stored_and_read_back():
    plan = plans.parse({"rounds": 2, "late": {"kind": "fold", "exponent": 2, "max_staleness": 3}})

    assert plans.to_data(plan)["late"] == {"kind": "fold", "exponent": 2.0, "max_staleness": 3}
    assert plans.parse(plans.to_data(plan)) == plan


@pytest.mark.parametrize(
    ("late", "seen"),
    [
        ({"kind": "fold", "exponent": -0.1}, ">= 0"),
        ({"kind": "fold", "exponent": 100.5}, "<= 100"),
        ({"kind": "fold", "exponent": "a half"}, "Expected `float`"),
        ({"kind": "fold", "max_staleness": 0}, ">= 1"),
        ({"kind": "fold", "max_staleness": 1001}, "<= 1000"),
        ({"kind": "fold", "max_staleness": 1.5}, "Expected `int`"),
        ({"kind": "fold", "alpha": 1}, "unknown field `alpha`"),
        ({"kind": "discard", "exponent": 1}, "unknown field `exponent`"),
        ({"kind": "wait"}, "Invalid value 'wait'"),
        ({}, "required field `kind`"),
        ("fold", "Expected `object`"),
    ],
)
def test_refuses_what_it_may_not_say(late, seen):
    with pytest.raises(UnsoundPlanError, match=seen) as caught:
        plans.parse({"rounds": 1, "late": late})
    assert "$.late" in str(caught.value)


def test_refuses_to_fold_in_a_daisy_chain():
    chained = {"rounds": 4, "daisy_chain": {"period": 2}}

    with pytest.raises(UnsoundPlanError, match=r"late has kind 'fold' in a daisy chain.*'discard'"):
        plans.parse({**chained, "late": {"kind": "fold"}})
    assert plans.parse({**chained, "late": {"kind": "discard"}}).daisy_chain is not None


def test_refuses_an_exponent_that_json_cannot_carry():
    plan = msgspec.structs.replace(plans.fedavg(rounds=1), late=Fold(exponent=math.nan))

    with pytest.raises(UnsoundPlanError, match=r"late\.exponent is nan"):
        plans.check(plan)
