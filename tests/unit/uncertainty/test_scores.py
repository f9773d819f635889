"""Conformal scores against the sets that the papers define."""

from typing import get_args

import numpy as np
import pytest

from hansa.protocol.calibration import ScoreRule
from hansa.uncertainty.scores import Rule, adaptive, least_ambiguous, of_labels, residuals
from hansa.uncertainty.sketches import Grid

SEED = 20266


def probabilities(rows: int, classes: int) -> np.ndarray:
    return np.random.default_rng(SEED).dirichlet(np.full(classes, 0.5), rows)


def test_the_least_ambiguous_score_is_what_is_left_to_1() -> None:
    rows = probabilities(50, 6)
    assert least_ambiguous(rows) == pytest.approx(1 - rows)
    assert least_ambiguous(np.array([[1.0 + 1e-16, 0.0]])).min() == 0.0


def set_of_the_paper(row: np.ndarray, tau: float, u: float | None) -> set[int]:
    """Romano et al. 2020: the L likeliest classes whose sum reaches tau; the last of them dropped when u <= V."""
    falling = sorted(range(len(row)), key=lambda c: (-row[c], c))
    sums = np.cumsum(row[falling])
    length = next((place + 1 for place, total in enumerate(sums) if total >= tau), len(row))
    if u is not None and u <= (sums[length - 1] - tau) / row[falling[length - 1]]:
        length -= 1
    return set(falling[:length])


@pytest.mark.parametrize("with_dice", [True, False])
def test_adaptive_scores_give_the_sets_of_the_paper(with_dice: bool) -> None:
    rng = np.random.default_rng(SEED)
    rows = probabilities(400, 5)
    dice = rng.random(400) if with_dice else None
    scores = adaptive(rows, dice)
    for place, (row, tau) in enumerate(zip(rows, rng.uniform(0.05, 0.99, 400), strict=True)):
        u = float(dice[place]) if dice is not None else None
        assert set(np.flatnonzero(scores[place] < tau)) == set_of_the_paper(row, tau, u), f"seed {SEED}"


def test_without_dice_the_likeliest_class_is_in_every_set() -> None:
    rows = probabilities(400, 5)
    assert (adaptive(rows)[np.arange(400), rows.argmax(axis=1)] == 0).all()


def test_dice_are_one_for_each_input() -> None:
    for dice in (np.zeros(2), np.array([1.5, 0, 0]), np.array([-0.1, 0, 0])):
        with pytest.raises(ValueError, match=r"one within \[0, 1\] for each of 3"):
            adaptive(probabilities(3, 4), dice)


def test_the_score_of_the_right_class_is_taken() -> None:
    assert of_labels(np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([1, 0])).tolist() == [0.2, 0.3]


def test_residuals_are_distances_in_units_of_sigma_where_there_is_one() -> None:
    assert residuals([1.0, 5.0], [3.0, 4.0]).tolist() == [2.0, 1.0]
    assert residuals([1.0, 5.0], [3.0, 4.0], [4.0, 0.5]).tolist() == [0.5, 2.0]


def test_of_several_outputs_the_worst_counts() -> None:
    assert residuals([[1.0, 5.0]], [[3.0, 4.0]], [[4.0, 0.5]]).tolist() == [2.0]


@pytest.mark.parametrize(
    ("predicted", "answers", "sigma", "reason"),
    [
        ([1.0], [1.0, 2.0], None, r"answers have shape \(2,\); the predictions have \(1,\)"),
        ([1.0], [1.0], [0.0], "a sigma is 0; it is greater than 0"),
        ([1.0], [1.0], [1.0, 1.0], r"sigma have shape \(2,\)"),
        ([np.nan], [1.0], None, "predictions hold NaN"),
        ([[[1.0]]], [[[1.0]]], None, r"\(inputs,\) or \(inputs, outputs\) is wanted"),
    ],
)
def test_answers_that_do_not_fit_are_refused(predicted: object, answers: object, sigma: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        residuals(predicted, answers, sigma)  # type: ignore[arg-type]  # what a caller could send


def test_a_rule_names_its_scores_and_the_grid_that_they_are_counted_on() -> None:
    rows, dice = probabilities(9, 4), np.random.default_rng(SEED).random(9)
    assert Rule.LAC.of_classes(rows, dice) == pytest.approx(least_ambiguous(rows))
    assert Rule.APS.of_classes(rows, dice) == pytest.approx(adaptive(rows, dice))
    assert [rule.grid for rule in Rule] == [Grid.UNIT, Grid.UNIT, Grid.POSITIVE]
    with pytest.raises(ValueError, match="residuals, which are for numbers"):
        Rule.RESIDUAL.of_classes(rows, dice)


def test_the_rules_are_those_that_a_plan_may_name() -> None:
    assert {rule.value for rule in Rule} == set(get_args(ScoreRule))
