"""What clients report adds up to the same bits in every order and grouping, and quantiles of it keep their bound."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hansa.uncertainty import calibration, conformal, sketches, temperature
from hansa.uncertainty.conformal import Unbounded, examples_needed, threshold
from hansa.uncertainty.decomposition import information
from hansa.uncertainty.probabilities import Outputs, softmax
from hansa.uncertainty.scores import adaptive, least_ambiguous, of_labels
from hansa.uncertainty.sketches import Grid, edges, quantile, rounded_up, sketch_of

Examples = tuple[np.ndarray, np.ndarray]


class Make(Protocol):
    """From the examples of one client to its report; all of its rows are independent."""

    def __call__(self, logits: np.ndarray, labels: np.ndarray) -> object: ...


def sets_covered(logits: np.ndarray, labels: np.ndarray) -> conformal.Coverage:
    limit = conformal.Threshold(0.4, alpha=0.1, rank=1, examples=1, clients=1)
    return conformal.set_coverage(conformal.prediction_sets(least_ambiguous(softmax(logits)), limit), labels)


REPORTS: dict[str, tuple[Make, Callable[[Sequence[object]], object]]] = {
    "loss sums": (temperature.loss_sums, temperature.merged),  # type: ignore[dict-item]  # each merges its own type
    "tally": (lambda logits, labels: calibration.tally(softmax(logits), labels), calibration.merged),  # type: ignore[dict-item]  # as above
    "sketch": (
        lambda logits, labels: sketch_of(of_labels(adaptive(softmax(logits)), labels), Grid.UNIT),
        sketches.merged,  # type: ignore[dict-item]  # as above
    ),
    "coverage": (sets_covered, conformal.merged_coverage),  # type: ignore[dict-item]  # as above
}


@st.composite
def clients(draw: st.DrawFn) -> list[Examples]:
    """The logits and labels of one to five clients, of a model with 3 classes; one may have none."""
    return [
        (
            draw(arrays(np.float64, (rows, 3), elements=st.floats(-1e4, 1e4, width=32))),
            draw(arrays(np.int64, rows, elements=st.integers(0, 2))),
        )
        for rows in draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
    ]


@pytest.mark.parametrize("report", REPORTS)
@given(examples=clients(), order=st.randoms(use_true_random=False), cut=st.integers(0, 5))
def test_reports_add_up_to_the_same_bits_in_every_order_and_grouping(
    report: str, examples: list[Examples], order: object, cut: int
) -> None:
    make, merge = REPORTS[report]
    parts = [make(*one) for one in examples]
    whole = merge(parts)
    shuffled = list(parts)
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    assert merge(shuffled) == whole
    groups = [merge(group) for group in (parts[:cut], parts[cut:]) if group]
    assert merge(groups) == whole
    assert make(np.concatenate([one[0] for one in examples]), np.concatenate([one[1] for one in examples])) == whole


scores_of = {
    Grid.UNIT: st.lists(st.floats(0, 1), min_size=1, max_size=60),
    Grid.POSITIVE: st.lists(st.floats(0, 1e12) | st.floats(0, 1e-6), min_size=1, max_size=60),
}


@pytest.mark.parametrize("grid", Grid)
@given(data=st.data())
def test_quantiles_lie_above_the_exact_one_in_its_cell_and_say_by_how_many_ranks(
    grid: Grid, data: st.DataObject
) -> None:
    scores = sorted(data.draw(scores_of[grid]))
    rank = data.draw(st.integers(1, len(scores)))
    exact = scores[rank - 1]
    sketch = sketch_of(scores, grid)
    found = quantile(sketch, rank)
    cell = int(np.searchsorted(edges(grid), found.value))
    assert exact <= found.value
    assert cell == 0 or exact > edges(grid)[cell - 1]
    assert found.excess == sum(score <= found.value for score in scores) - rank
    assert found.excess <= sketch.rank_error
    assert found.value == rounded_up(np.array([exact]), grid)[0]


@given(
    parts=st.lists(st.lists(st.floats(0, 1), max_size=30), min_size=1, max_size=6),
    percent=st.integers(1, 99),
)
def test_thresholds_are_exactly_those_of_scores_rounded_up_to_the_grid(parts: list[list[float]], percent: int) -> None:
    """So that the theorem holds with no correction for the sketch."""
    pooled = sorted(rounded_up(np.array([score for part in parts for score in part], np.float64), Grid.UNIT))
    found = threshold([sketch_of(part, Grid.UNIT) for part in parts], alpha=percent / 100)
    rank = math.ceil((1 - Fraction(percent, 100)) * (len(pooled) + len(parts)))
    assert found.rank == rank
    if rank > len(pooled):
        assert (found.value, found.unbounded) == (None, Unbounded.TOO_FEW)
        assert len(pooled) < examples_needed(len(parts), percent / 100)
    else:
        assert found.value == pooled[rank - 1]
        assert len(pooled) >= examples_needed(len(parts), percent / 100)


@given(
    arrays(
        np.float64, st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(2, 5)), elements=st.floats(-1e3, 1e3)
    )
)
def test_entropies_are_never_negative_and_never_more_than_there_are_classes(logits: np.ndarray) -> None:
    found = information(logits, Outputs.LOGITS)
    most = math.log(logits.shape[2]) * (1 + 1e-12)
    assert (found.mutual_information >= 0).all()
    assert (found.expected_entropy >= 0).all()
    assert (found.predictive_entropy <= most).all()
    assert (found.expected_entropy <= found.predictive_entropy + 1e-12).all()
    total = found.expected_entropy + found.mutual_information
    assert total == pytest.approx(found.predictive_entropy, abs=1e-12)
