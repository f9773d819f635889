"""Who goes on from whose local model: the properties the docstring promises, over random cohorts."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.core.relay import deal
from hansa.core.seeds import relay_rng

ordinals = st.lists(st.integers(0, 30), unique=True, max_size=12).map(sorted)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Those who are waited for, and those who are only invited."""
    everybody = draw(ordinals)
    waited_for = draw(st.sets(st.sampled_from(everybody))) if everybody else set()
    return sorted(waited_for), sorted(set(everybody) - waited_for)


def dice(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(ordinals, cohorts(), st.integers(0, 2**32))
def test_no_client_gets_two_models_and_no_model_goes_to_two_clients(
    models: list[int], cohort: tuple[list[int], list[int]], seed: int
) -> None:
    clients, others = cohort
    dealt = deal(models, clients, others, dice(seed))
    assert len(set(dealt.values())) == len(dealt) == min(len(models), len(clients) + len(others))
    assert set(dealt) <= {*clients, *others}
    assert set(dealt.values()) <= set(models)
    assert all(type(number) is int for pair in dealt.items() for number in pair)


@given(ordinals, st.integers(0, 2**32))
def test_in_the_same_cohort_every_model_travels_to_exactly_one_client(cohort: list[int], seed: int) -> None:
    dealt = deal(cohort, cohort, [], dice(seed))
    assert sorted(dealt) == sorted(dealt.values()) == cohort


@given(ordinals, cohorts(), st.integers(0, 2**32))
def test_who_is_not_waited_for_gets_a_model_only_when_all_others_have_one(
    models: list[int], cohort: tuple[list[int], list[int]], seed: int
) -> None:
    clients, others = cohort
    dealt = deal(models, clients, others, dice(seed))
    if set(dealt) & set(others):
        assert set(clients) <= set(dealt)


@given(ordinals, cohorts(), st.integers(0, 2**32))
def test_the_same_dice_deal_the_same_again(models: list[int], cohort: tuple[list[int], list[int]], seed: int) -> None:
    assert deal(models, *cohort, dice(seed)) == deal(models, *cohort, dice(seed))


def test_a_model_whose_client_is_gone_goes_to_a_client_that_is_there() -> None:
    assert sorted(deal([0, 1, 2], [1, 2, 7], [], dice()).values()) == [0, 1, 2]


def test_every_assignment_is_equally_likely() -> None:
    rng = dice(4)
    seen = Counter(tuple(sorted(deal([0, 1, 2], [0, 1, 2], [], rng).items())) for _ in range(6000))
    assert len(seen) == 6
    assert all(abs(count - 1000) < 120 for count in seen.values())


@pytest.mark.parametrize(("models", "clients"), [([0, 1, 2, 3], [0, 1]), ([0, 1], [0, 1, 2, 3])])
def test_who_is_left_out_is_left_out_by_chance(models: list[int], clients: list[int]) -> None:
    rng = dice(5)
    pairs = Counter(pair for _ in range(4000) for pair in deal(models, clients, [], rng).items())
    assert len(pairs) == 8
    assert all(abs(count - 1000) < 120 for count in pairs.values())


def test_a_deal_never_changes() -> None:
    """These were computed once. If they change, a training that travelled can no longer be repeated."""
    assert deal(range(5), range(5), [], relay_rng(1, 2)) == {1: 3, 0: 1, 2: 2, 3: 0, 4: 4}
    assert deal(range(3), range(5), [], relay_rng(42, 7)) == {4: 2, 0: 0, 3: 1}
