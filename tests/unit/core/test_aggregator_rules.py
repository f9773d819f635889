"""One suite over every aggregator, and for each a slow and obvious way to the same numbers."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hansa.core.aggregators import RULES, check
from hansa.core.aggregators.geometric_median import GeometricMedian
from hansa.core.aggregators.gram import add_products, block_elements, nothing, panel_elements
from hansa.core.aggregators.gram import gram as gram_of
from hansa.core.aggregators.krum import Krum, MultiKrum
from hansa.core.aggregators.mean import Mean, Sum
from hansa.core.aggregators.median import Median
from hansa.core.aggregators.norm_bounded import NormBoundedMean
from hansa.core.aggregators.shares import Needs
from hansa.core.aggregators.trimmed_mean import TrimmedMean
from hansa.rounds import plan as plans
from hansa.rounds.rules import rule_of

few = settings(max_examples=40)

ALL = [
    Mean(),
    Sum(),
    NormBoundedMean(bound=3.0),
    Median(),
    TrimmedMean(trim=0.2),
    Krum(byzantine=1),
    MultiKrum(byzantine=1, keep=3),
    GeometricMedian(),
]
ROBUST = [it for it in ALL if not isinstance(it, Mean | Sum | NormBoundedMean)]
MOVED_WITH_ALL = [it for it in ALL if not isinstance(it, Sum | NormBoundedMean)]
"""Rules for which it does not matter where the origin is."""

by_rule = pytest.mark.parametrize("rule", ALL, ids=lambda rule: type(rule).__name__)
numbers = st.floats(-100, 100, width=32)
weights = st.integers(1, 1000).map(float)
cohorts = st.tuples(st.integers(5, 9), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.float64, shape, elements=numbers),
        arrays.arrays(np.float64, shape[0], elements=weights),
    )
)


def combined(rule, updates, weights):
    """The update, by whichever way the rule has."""
    check(rule, len(updates))
    if hasattr(rule, "combine"):
        return rule.combine(updates.copy(), weights)
    gram = gram_of(updates)
    measured = gram if rule.needs is Needs.PRODUCTS else np.diagonal(gram)
    return rule.shares(measured, weights).factors() @ updates


def close(updates):
    """What rounding may do to numbers of this size."""
    return {"rtol": 1e-7, "atol": 1e-6 * (1 + float(np.abs(updates).max()))}


# All of them


def test_every_rule_that_a_plan_may_name_is_here():
    assert {type(rule) for rule in ALL} == {*RULES.values()}


@by_rule
@few
@given(cohorts)
def test_the_update_has_an_element_for_each_in_float64_and_the_updates_stay_as_they_were(rule, cohort):
    updates, weights = cohort
    before = updates.copy()
    found = combined(rule, updates, weights)
    assert (found.dtype, found.shape) == (np.float64, updates.shape[1:])
    np.testing.assert_array_equal(updates, before)
    assert np.isfinite(found).all()


@by_rule
@few
@given(cohorts, st.sampled_from([0.5, 3.0, 1000.0]))
def test_weights_scale_away(rule, cohort, scale):
    updates, weights = cohort
    np.testing.assert_allclose(
        combined(rule, updates, weights * scale), combined(rule, updates, weights), **close(updates)
    )


@pytest.mark.parametrize("rule", [it for it in ALL if not isinstance(it, Krum | MultiKrum)], ids=repr)
@few
@given(cohorts, st.randoms(use_true_random=False))
def test_the_order_of_the_clients_does_not_matter(rule, cohort, random):
    updates, weights = cohort
    order = random.sample(range(len(updates)), len(updates))
    np.testing.assert_allclose(
        combined(rule, updates[order], weights[order]), combined(rule, updates, weights), **close(updates)
    )


@pytest.mark.parametrize("rule", [Krum(byzantine=1), MultiKrum(byzantine=1, keep=3)], ids=repr)
@few
@given(cohorts, st.randoms(use_true_random=False))
def test_whom_krum_keeps_has_the_least_scores_in_whatever_order_they_come(rule, cohort, random):
    """Of equal scores the first is kept, so the update may be another; what it scores is not."""
    updates, weights = cohort
    order = random.sample(range(len(updates)), len(updates))
    scored = np.array(slow_scores(updates, byzantine=1))
    kept = np.flatnonzero(rule.shares(gram_of(updates[order]), weights[order]).weights)
    least = np.sort(scored)[: len(kept)]
    np.testing.assert_allclose(np.sort(scored[order][kept]), least, rtol=1e-7, atol=1e-6 * (1 + scored.max()))


@pytest.mark.parametrize("rule", [it for it in ALL if not isinstance(it, Sum)], ids=repr)
@few
@given(arrays.arrays(np.float64, 4, elements=st.floats(-1, 1, width=32)), st.integers(5, 9))
def test_clients_that_all_send_the_same_are_followed(rule, update, cohort):
    updates = np.tile(update, (cohort, 1))
    np.testing.assert_allclose(combined(rule, updates, np.arange(1.0, cohort + 1)), update, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", MOVED_WITH_ALL, ids=repr)
@few
@given(cohorts, st.integers(-50, 50))
def test_where_all_are_moved_the_update_is_moved_alike(rule, cohort, by):
    updates, weights = cohort
    if isinstance(rule, Krum | MultiKrum):
        scored = np.sort(slow_scores(updates, byzantine=1))
        gaps = np.diff(scored)
        if gaps.min() < 1e-3:  # whom it keeps is a matter of rounding
            return
    np.testing.assert_allclose(
        combined(rule, updates + by, weights), combined(rule, updates, weights) + by, rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("rule", ROBUST, ids=repr)
@few
@given(cohorts, st.floats(1e3, 1e6))
def test_one_client_that_sends_anything_does_not_carry_a_robust_update_away(rule, cohort, far):
    updates, _ = cohort
    honest = np.abs(updates).max()
    updates[2] = far
    reach = 10 * (honest + 1) if isinstance(rule, GeometricMedian) else honest + 1e-6 * (1 + honest)
    assert np.abs(combined(rule, updates, np.ones(len(updates)))).max() <= reach


AT_MOST = {"median": 5, "trimmed_mean": 3, "krum": 4, "multi_krum": 4, "geometric_median": 5}
"""Of 11 clients so many may send what they like, by what each rule promises."""
HOSTILE: dict[str, dict[str, object]] = {
    "median": {},
    "trimmed_mean": {"trim": 0.3},
    "krum": {"byzantine": 4},
    "multi_krum": {"byzantine": 4, "keep": 3},
    "geometric_median": {},
}


@pytest.mark.parametrize("kind", AT_MOST)
@pytest.mark.parametrize("far", [10.0, 1e3, 1e5, 1e12, 1e30, float(np.finfo(np.float32).max)])
def test_as_many_as_are_promised_send_the_same_and_do_not_carry_it_away_however_far_that_is(kind, far):
    """A rule as a plan builds it."""
    rule = rule_of(plans.parse({"rounds": 1, "aggregator": {"kind": kind, **HOSTILE[kind]}}).aggregator)
    rng = np.random.default_rng(1)
    updates = rng.normal(size=(11, 50))
    reach = 4 * np.linalg.norm(updates, axis=1).max()
    updates[rng.permutation(11)[: AT_MOST[kind]]] = far

    assert np.linalg.norm(combined(rule, updates, np.ones(11))) <= reach


@few
@given(cohorts)
def test_the_geometric_median_is_where_a_plain_weiszfeld_iteration_ends(cohort):
    updates, weights = cohort
    updates = updates + np.arange(len(updates))[:, None] / 8  # apart: at an update the plain one divides by 0
    point = np.average(updates, axis=0, weights=weights)
    for _ in range(3000):
        closeness = weights / np.maximum(1e-6, np.linalg.norm(updates - point, axis=1))
        point = closeness @ updates / closeness.sum()

    found = combined(GeometricMedian(iterations=3000), updates, weights)

    def distance(where):
        return float(weights @ np.linalg.norm(updates - where, axis=1))

    assert distance(found) <= distance(point) * (1 + 1e-6) + 1e-6


def test_one_that_is_left_out_of_a_trimmed_mean_leaves_one():
    assert TrimmedMean(trim=0.4999999999).combine(np.array([[1.0], [3.0]]), np.ones(2)) == [2.0]


@pytest.mark.parametrize("rule", [Mean(), Sum()], ids=repr)
def test_one_client_does_carry_a_mean_away(rule):
    updates = np.zeros((5, 1))
    updates[2] = 1e6
    assert combined(rule, updates, np.ones(5)) > 1e5


@pytest.mark.parametrize("rule", [Mean(), Median(), GeometricMedian(), TrimmedMean(trim=0.0)], ids=repr)
def test_one_client_alone_is_followed(rule):
    np.testing.assert_allclose(combined(rule, np.array([[1.5, -2.0]]), np.array([7.0])), [1.5, -2.0], rtol=1e-15)


# Each of them, done slowly


def slow_scores(updates, byzantine):
    n = len(updates)
    return [
        sum(sorted(math.dist(updates[i], updates[j]) ** 2 for j in range(n) if j != i)[: n - byzantine - 2])
        for i in range(n)
    ]


@few
@given(cohorts)
def test_mean_sum_and_bounded_mean_as_python_adds_them(cohort):
    updates, weights = cohort
    total = sum(weights)
    for column in range(updates.shape[1]):
        values = [float(value) for value in updates[:, column]]
        mean = sum(n * x for n, x in zip(weights, values, strict=True)) / total
        norms = [math.hypot(*update) for update in updates]
        bounded = sum(
            n * x * min(1.0, 3.0 / max(norm, 1e-30)) for n, x, norm in zip(weights, values, norms, strict=True)
        )
        np.testing.assert_allclose(combined(Mean(), updates, weights)[column], mean, **close(updates))
        np.testing.assert_allclose(combined(Sum(), updates, weights)[column], sum(values), **close(updates))
        found = combined(NormBoundedMean(bound=3.0), updates, weights)[column]
        np.testing.assert_allclose(found, bounded / total, **close(updates))


@few
@given(cohorts)
def test_the_median_is_that_of_the_statistics_module(cohort):
    updates, weights = cohort
    wanted = [statistics.median(map(float, column)) for column in updates.T]
    np.testing.assert_allclose(combined(Median(), updates, weights), wanted, rtol=1e-15, atol=1e-300)


@few
@given(cohorts, st.sampled_from([0.2, 0.3, 0.4]))
def test_the_trimmed_mean_is_that_of_a_sorted_list(cohort, trim):
    updates, weights = cohort
    k = math.floor(round(trim * len(updates), 9))
    wanted = [statistics.fmean(sorted(map(float, column))[k : len(updates) - k]) for column in updates.T]
    np.testing.assert_allclose(combined(TrimmedMean(trim=trim), updates, weights), wanted, **close(updates))


@few
@given(cohorts)
def test_krum_keeps_those_whose_neighbours_are_closest(cohort):
    updates, weights = cohort
    scored = slow_scores(updates, byzantine=1)
    if np.diff(np.sort(scored)).min() < 1e-3:
        return
    best = sorted(range(len(updates)), key=scored.__getitem__)
    np.testing.assert_allclose(combined(Krum(byzantine=1), updates, weights), updates[best[0]], rtol=1e-12)
    found = combined(MultiKrum(byzantine=1, keep=3), updates, weights)
    np.testing.assert_allclose(found, updates[sorted(best[:3])].mean(axis=0), **close(updates))


@few
@given(cohorts)
def test_no_point_around_has_less_distance_to_the_clients_than_the_geometric_median(cohort):
    updates, weights = cohort
    found = combined(GeometricMedian(iterations=300), updates, weights)

    def distance(point):
        return float(weights @ np.linalg.norm(updates - point, axis=1))

    around = [
        found + step for size in (0.1, 10.0) for axis in np.eye(len(found)) for step in (size * axis, -size * axis)
    ]
    at_updates = [*updates]
    least = min(map(distance, around + at_updates))
    assert distance(found) <= least * (1 + 1e-3) + 1e-3


# What is refused


@pytest.mark.parametrize(
    ("rule", "cohort", "words"),
    [
        (TrimmedMean(trim=0.1), 5, "have 10 or more report"),
        (TrimmedMean(trim=0.3), 3, "have 4 or more report"),
        (Krum(byzantine=1), 4, "have 5 or more report"),
        (MultiKrum(byzantine=1, keep=7), 7, "have 8 or more report"),
    ],
)
def test_a_cohort_of_which_the_rule_promises_nothing_is_refused(rule, cohort, words):
    with pytest.raises(ValueError, match=words):
        check(rule, cohort)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TrimmedMean(trim=0.5), "less than 0.5"),
        (lambda: NormBoundedMean(bound=0.0), "greater than 0"),
        (lambda: NormBoundedMean(bound=math.nan), "greater than 0"),
        (lambda: MultiKrum(byzantine=-1, keep=1), "0 or more"),
        (lambda: MultiKrum(byzantine=0, keep=0), "at least one"),
        (lambda: GeometricMedian(iterations=0), "at least one"),
        (lambda: GeometricMedian(smoothing=0.0), "greater than 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(("trim", "cohort", "left_out"), [(0.2, 5, 1), (0.3, 10, 3), (0.1, 30, 3), (0.29, 100, 29)])
def test_how_many_are_trimmed_is_not_left_to_the_last_bit_of_a_product(trim, cohort, left_out):
    assert TrimmedMean(trim=trim).left_out(cohort) == left_out


# The Gram matrix


@settings(max_examples=10)
@given(st.integers(129, 140), st.integers(1, 20_000), st.integers(0, 2**32 - 1))
def test_the_gram_matrix_is_that_of_differences_whatever_the_panels(cohort, size, seed):
    rng = np.random.default_rng(seed)
    params, origin = rng.standard_normal((cohort, size)).astype(np.float32), rng.standard_normal(size)
    updates = params - origin

    room = np.empty(cohort * block_elements(cohort))
    found, norms = nothing(cohort, Needs.PRODUCTS), nothing(cohort, Needs.NORMS)
    add_products(found, params, origin, room)

    assert found.tobytes() == gram_of(updates).tobytes()
    np.testing.assert_allclose(found[:3], np.einsum("ik,jk->ij", updates[:3], updates), rtol=1e-9, atol=1e-6)
    add_products(norms, params, origin, room)
    np.testing.assert_allclose(norms, np.diagonal(found), rtol=1e-9)


@pytest.mark.parametrize("size", [block_elements(3) + 7, panel_elements(3) + block_elements(3) + 7])
def test_products_past_the_first_block_and_the_first_panel_are_of_the_numbers_that_stand_there(size):
    rng = np.random.default_rng(size)
    params, origin = rng.standard_normal((3, size)), 10 * rng.standard_normal(size)
    updates, found = params - origin, nothing(3, Needs.PRODUCTS)

    add_products(found, params, origin, np.empty(3 * block_elements(3)))

    np.testing.assert_allclose(found, np.einsum("ik,jk->ij", updates, updates), rtol=1e-11)
    np.testing.assert_allclose(gram_of(updates), found, rtol=1e-11)


@given(st.integers(1, 100_000))
def test_a_block_of_any_cohort_takes_no_more_than_64_mebibytes(cohort):
    assert cohort * block_elements(cohort) * 8 <= 64 * 2**20


@pytest.mark.parametrize("rule", [Krum(byzantine=1), MultiKrum(byzantine=1, keep=3), GeometricMedian()], ids=repr)
def test_an_update_whose_norm_no_float64_holds_is_as_far_away_as_can_be(rule):
    updates = np.array([[1.0], [1.1], [1e200], [0.9], [1.0]])

    shares = rule.shares(gram_of(updates), np.ones(5))

    assert shares.weights[2] == 0
    assert 0.9 <= shares.factors() @ np.where(updates == 1e200, 0, updates)[:, 0] <= 1.1
