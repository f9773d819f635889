"""Calibration errors against a direct computation over the examples, and tallies that cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from hansa.uncertainty.calibration import (
    BINS,
    Tally,
    accuracy,
    brier_score,
    calibration_error,
    maximum_calibration_error,
    merged,
    reliability_diagram,
    tally,
)
from hansa.uncertainty.probabilities import Outputs, class_labels, class_probabilities
from hansa.uncertainty.reports import ReportError

SEED = 20264


def examples(count: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 4))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return class_probabilities(logits, Outputs.LOGITS), class_labels(labels, (count, 4))


def gaps(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[int, float]]:
    """How many each bin holds, and by how much accuracy and confidence differ there: eq. 3 of Guo et al."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    found = []
    for place in range(BINS):
        inside = (confidence > place / BINS) & (confidence <= (place + 1) / BINS)
        if inside.any():
            found.append((int(inside.sum()), abs(float(right[inside].mean() - confidence[inside].mean()))))
    return found


def test_errors_are_those_of_a_direct_computation() -> None:
    probabilities, labels = examples(3000)
    direct = gaps(probabilities, labels)
    found = tally(probabilities, labels)
    assert calibration_error(found) == pytest.approx(sum(count * gap for count, gap in direct) / 3000, abs=1e-9)
    assert maximum_calibration_error(found) == pytest.approx(max(gap for _, gap in direct), abs=1e-9)


def test_the_brier_score_is_that_of_a_direct_computation() -> None:
    probabilities, labels = examples(3000)
    direct = np.square(probabilities - np.eye(4)[labels]).sum(axis=1).mean()
    assert brier_score(tally(probabilities, labels)) == pytest.approx(direct, abs=1e-9)


def test_pooled_tallies_are_those_of_all_examples_which_means_of_clients_are_not() -> None:
    probabilities, labels = examples(3000)
    parts = [tally(probabilities[:100], labels[:100]), tally(probabilities[100:], labels[100:])]
    assert merged(parts) == tally(probabilities, labels)
    mean_of_errors = sum(part.count * calibration_error(part) for part in parts) / 3000
    assert mean_of_errors > calibration_error(merged(parts)) + 1e-3


def test_a_model_that_is_right_as_often_as_it_says_has_almost_no_error() -> None:
    rng = np.random.default_rng(SEED)
    probabilities = special.softmax(rng.normal(0, 2, (200_000, 3)), axis=1)
    labels = (rng.random((200_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    assert calibration_error(tally(probabilities, labels)) < 0.01, f"seed {SEED}"


def test_diagrams_have_a_bar_for_each_bin_and_say_which_are_empty() -> None:
    bars = reliability_diagram(tally(np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]), np.array([0, 1, 1])))
    assert len(bars) == BINS
    assert (bars[0].low, bars[-1].high) == (0.0, 1.0)
    assert (bars[0].examples, bars[0].accuracy, bars[0].confidence) == (0, None, None)
    assert (bars[13].examples, bars[13].accuracy) == (2, 0.5)
    assert bars[13].confidence == pytest.approx(0.9)
    assert bars[13].low < 0.9 <= bars[13].high


def test_confidences_on_an_edge_belong_to_the_bin_below() -> None:
    found = tally(np.array([[0.2, 0.2, 0.2, 0.2, 0.2], [1.0, 0.0, 0.0, 0.0, 0.0]]), np.array([0, 0]))
    assert [place for place, count in enumerate(found.counts) if count] == [2, 14]


def test_of_equal_classes_the_first_is_predicted() -> None:
    assert accuracy(tally(np.array([[0.5, 0.5]]), np.array([0]))) == 1.0
    assert accuracy(tally(np.array([[0.5, 0.5]]), np.array([1]))) == 0.0


@pytest.mark.parametrize("measure", [calibration_error, maximum_calibration_error, brier_score, accuracy])
def test_of_no_examples_nothing_is_measured(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="no examples"):
        measure(merged([]))


GOOD = tally(*examples(50))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"counts": GOOD.counts[1:]}, "counts"),
        ({"counts": (*GOOD.counts[:-1], -1)}, r"counts\[14\]"),
        ({"counts": (*GOOD.counts[:-1], 2**60)}, "the sum of counts"),
        ({"correct": (1, *GOOD.correct[1:])}, r"correct\[0\]"),
        ({"confidences": (*GOOD.confidences[:-1], 0)}, r"confidences\[14\]"),
        ({"confidences": (*GOOD.confidences[:-1], 0.5)}, r"confidences\[14\]"),
        ({"confidences": (2, *GOOD.confidences[1:])}, r"confidences\[0\]"),
        ({"brier": 2**30 * 101}, "brier"),
        ({"brier": None}, "brier"),
    ],
)
def test_tallies_that_no_examples_have_are_refused_by_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(ReportError, match=rf"^{field}: "):
        replace(GOOD, **change)  # type: ignore[arg-type]  # what a client could send


def test_the_smallest_and_largest_confidences_of_each_bin_are_possible() -> None:
    for place in range(BINS):
        for confidence in (np.nextafter(place / BINS, 1), (place + 1) / BINS):
            rest = (1 - confidence) / 30
            row = np.array([[confidence, *[rest] * 30]])
            if confidence > rest:
                assert isinstance(tally(row, np.array([0])), Tally)
