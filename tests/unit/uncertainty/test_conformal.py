"""Thresholds by rank, the sets they lead to, and the coverage that was promised, over many splits."""

import math
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest

from hansa.uncertainty.conformal import (
    Coverage,
    Threshold,
    Unbounded,
    examples_needed,
    interval_coverage,
    intervals,
    merged_coverage,
    prediction_sets,
    set_coverage,
    sketched_coverage,
    threshold,
)
from hansa.uncertainty.probabilities import softmax
from hansa.uncertainty.reports import ReportError, check_same_examples
from hansa.uncertainty.scores import adaptive, least_ambiguous, of_labels, residuals
from hansa.uncertainty.sketches import Grid, sketch_of

SEED = 20267
CLIENTS, SPLITS = 5, 120


def limit_at(value: float, unbounded: Unbounded | None = None) -> Threshold:
    return Threshold(value, alpha=0.1, rank=9, examples=9, clients=1, unbounded=unbounded)


# Thresholds


@pytest.mark.parametrize(
    ("examples", "clients", "alpha", "rank"),
    [(99, 1, 0.1, 90), (65, 5, 0.1, 63), (95, 5, 0.1, 90), (95, 5, 0.05, 95), (100, 1, 0.1, 91), (7, 3, 0.3, 7)],
)
def test_the_rank_is_that_of_lu_et_al_without_the_dust_of_floats(
    examples: int, clients: int, alpha: float, rank: int
) -> None:
    scores = np.arange(1, examples + 1) / 1024
    found = threshold([sketch_of(scores[start::clients], Grid.UNIT) for start in range(clients)], alpha)
    assert (found.rank, found.examples, found.clients) == (rank, examples, clients)
    assert rank / 1024 <= found.bound < (rank + 5) / 1024


def test_more_clients_ask_for_a_higher_rank() -> None:
    scores = np.arange(100) / 128
    ranks = [threshold([sketch_of(scores[k::n], Grid.UNIT) for k in range(n)], 0.1).rank for n in (1, 5, 10, 20)]
    assert ranks == [91, 95, 99, 108]


def test_too_few_examples_for_the_level_leave_everything_in_the_set_by_name() -> None:
    few = threshold([sketch_of([0.5] * 8, Grid.UNIT)] * 5, 0.1)
    assert (few.value, few.bound, few.unbounded) == (None, math.inf, Unbounded.TOO_FEW)
    assert prediction_sets(np.ones((2, 3)), few).members.all()
    assert intervals([1.0], few).low.tolist() == [-math.inf]
    enough = threshold([sketch_of([0.5] * 9, Grid.UNIT)] * 5, 0.1)
    assert (enough.value, enough.unbounded) == (0.5, None)
    assert examples_needed(5, 0.1) == 45 == enough.examples


def test_scores_larger_than_the_grid_are_named_too() -> None:
    found = threshold([sketch_of([1e30] * 20, Grid.POSITIVE)], 0.1)
    assert (found.value, found.unbounded) == (None, Unbounded.BEYOND_GRID)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Threshold) == found


def test_what_the_grid_costs_is_told() -> None:
    assert threshold([sketch_of([0.3] * 99, Grid.UNIT)], 0.1).excess == 9


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_the_share_that_may_miss_is_between_0_and_1(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold([sketch_of([0.5], Grid.UNIT)], alpha)


# Sets and intervals


def test_sets_may_be_empty_and_say_so() -> None:
    sets = prediction_sets(np.array([[0.2, 0.8], [0.6, 0.7], [0.5, 0.1]]), limit_at(0.5))
    assert sets.empty.tolist() == [False, True, False]
    assert sets.sizes.tolist() == [1, 0, 2]
    found = set_coverage(sets, np.array([0, 0, 1]))
    assert found == Coverage(examples=3, covered=2, empty=1, labels=3)
    assert (found.share, found.mean_size) == (pytest.approx(2 / 3), 1.0)


def test_intervals_are_as_wide_as_sigma_says() -> None:
    found = intervals([[1.0, 10.0]], limit_at(2.0), [[0.5, 3.0]])
    assert (found.low.tolist(), found.high.tolist()) == ([[0.0, 4.0]], [[2.0, 16.0]])
    plain = intervals([1.0, 10.0], limit_at(2.0))
    assert (plain.low.tolist(), plain.high.tolist()) == ([-1.0, 8.0], [3.0, 12.0])


@pytest.mark.parametrize(
    ("sigma", "reason"), [([0.0], "greater than 0"), ([1.0, 1.0], r"shape \(2,\)"), ([np.nan], "NaN")]
)
def test_sigmas_that_cannot_be_are_refused(sigma: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        intervals([1.0], limit_at(2.0), sigma)


# Coverage


def test_coverage_of_all_is_the_sum_of_that_of_clients() -> None:
    parts = [Coverage(10, 9, 1, 12), Coverage(30, 20, 0, 40)]
    assert merged_coverage(parts) == Coverage(40, 29, 1, 52)
    assert merged_coverage([]).share is None
    assert merged_coverage([]).mean_size is None


@pytest.mark.parametrize(
    ("counts", "field"),
    [
        ((3, 4, 0, 4), "covered"),
        ((3, 2, 2, 4), "empty"),
        ((3, 2, 0, 2), "labels"),
        ((3, -1, 0, 0), "covered"),
        ((2.0, 1, 0, 0), "examples"),
    ],
)
def test_coverage_that_no_examples_have_is_refused_by_field(counts: tuple[int, int, int, int], field: str) -> None:
    with pytest.raises(ReportError, match=f"^{field}: "):
        Coverage(*counts)


def test_parts_of_one_report_are_of_the_same_examples() -> None:
    check_same_examples(7, losses=7, scores=None, tally=7)
    with pytest.raises(ReportError, match=r"^tally: was counted over 6 examples; the client reports 7"):
        check_same_examples(7, losses=7, tally=6)
    with pytest.raises(ReportError, match=r"^num_examples: is 8589934592; it is from 0 to 4294967296"):
        check_same_examples(2**33)


# The promise: 120 splits of exchangeable examples into calibration and test, clients skewed by label


def split(owners: np.ndarray, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Half of each client's examples to calibrate with, by client, and all others to test with."""
    shuffled = [rng.permutation(np.flatnonzero(owners == client)) for client in range(CLIENTS)]
    return [own[: len(own) // 2] for own in shuffled], np.concatenate([own[len(own) // 2 :] for own in shuffled])


def skewed(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whose each example is: each class is dealt to clients by shares from Dirichlet(0.3)."""
    shares = rng.dirichlet(np.full(CLIENTS, 0.3), labels.max() + 1).cumsum(axis=1)[:, :-1]
    owners: np.ndarray = (rng.random((len(labels), 1)) > shares[labels]).sum(axis=1)
    return owners


def classified(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Probabilities, labels, owners: of a model that is overconfident and right in some 70 of 100 cases."""
    for _ in range(SPLITS):
        logits = rng.normal(0, 2, (4000, 8))
        labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        yield softmax(2 * logits), labels, skewed(labels, rng)


RULES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "least ambiguous": lambda rows, _: least_ambiguous(rows),
    "adaptive with dice": lambda rows, rng: adaptive(rows, rng.random(len(rows))),
    "adaptive": lambda rows, _: adaptive(rows),
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_sets_cover_what_was_asked_on_average_under_label_skew(rule: str) -> None:
    rng = np.random.default_rng(SEED)
    shares, by_client = [], []
    for rows, labels, owners in classified(rng):
        scores = RULES[rule](rows, rng)
        own = of_labels(scores, labels)
        calibration, test = split(owners, rng)
        limit = threshold([sketch_of(own[part], Grid.UNIT) for part in calibration], alpha=0.1)
        sets = prediction_sets(scores[test], limit)
        shares.append(set_coverage(sets, labels[test]).share)
        by_client.append([own[test][owners[test] == client] <= limit.bound for client in range(CLIENTS)])
    assert np.mean(np.array(shares, np.float64)) == pytest.approx(0.90, abs=0.01), f"seed {SEED}"
    lowest = min(part.mean() for parts in by_client for part in parts if len(part) > 50)
    assert lowest < 0.89, "coverage of a single client is not promised, and here it is less"


def test_small_clients_with_other_data_are_covered_which_the_rank_for_one_client_would_miss() -> None:
    """30 examples of one client lie below one each of ten others; a new one is of client k by (n_k + 1) / (n + K)."""
    rng = np.random.default_rng(SEED)
    covered = []
    for _ in range(400):
        parts = [rng.uniform(0, 0.5, 30), *rng.uniform(0.5, 1, (10, 1))]
        limit = threshold([sketch_of(part, Grid.UNIT) for part in parts], alpha=0.3).bound
        covered.append((31 * min(limit / 0.5, 1) + 20 * max((limit - 0.5) / 0.5, 0)) / 51)
    assert 0.70 <= np.mean(covered) < 0.70 + 12 / 51, f"seed {SEED}"
    for_one = math.ceil(0.7 * 41)
    assert for_one / 51 < 0.60, "the share at or below that rank, all of it within the large client"


@pytest.mark.parametrize("normalised", [True, False])
def test_intervals_cover_what_was_asked_on_average_under_skew(normalised: bool) -> None:
    rng = np.random.default_rng(SEED)
    shares = []
    for _ in range(SPLITS):
        owners = rng.integers(0, CLIENTS, 4000)
        sigma = rng.uniform(0.1, 3, 4000) * (1 + owners)
        answers = rng.normal(0, sigma)
        predicted = np.zeros(4000)
        scale = sigma if normalised else None
        calibration, test = split(owners, rng)
        own = residuals(predicted, answers, scale)
        limit = threshold([sketch_of(own[part], Grid.POSITIVE) for part in calibration], alpha=0.1)
        found = intervals(predicted[test], limit, scale[test] if scale is not None else None)
        inside = (found.low <= answers[test]) & (answers[test] <= found.high)
        counted = interval_coverage(own[test], limit)
        assert counted.covered == pytest.approx(inside.sum(), abs=1)  # abs: y - q is rounded, and |y| <= q is not
        shares.append(inside.mean())
    assert np.mean(shares) == pytest.approx(0.90, abs=0.01), f"seed {SEED}"


def test_coverage_is_counted_in_a_sketch_as_in_the_scores_themselves() -> None:
    rng = np.random.default_rng(11)
    own, others = rng.random(60), rng.random(200)
    limit = threshold([sketch_of(own, Grid.UNIT), sketch_of(others, Grid.UNIT)], alpha=0.1)
    counted = sketched_coverage(sketch_of(own, Grid.UNIT), limit)
    assert counted == interval_coverage(own, limit)
    assert sketched_coverage(sketch_of([], Grid.UNIT), limit).share is None


def test_an_infinite_threshold_covers_everything() -> None:
    few = sketch_of([0.5, 1.0], Grid.UNIT)
    assert sketched_coverage(few, threshold([few], alpha=0.01)).share == 1.0
