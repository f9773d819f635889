"""The calibration error that a client reports with an evaluation."""

import numpy as np
import pytest

from hansa.client.calibration import Confidence


def test_the_metric_is_the_calibration_error_of_the_paper():
    rng = np.random.default_rng(7)
    logits, labels = rng.normal(0, 3, (500, 4)), rng.integers(0, 4, 500)
    powers = np.exp(logits)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert measured([(logits, labels)])["ece"] == pytest.approx(expected, abs=1e-8)


def test_batches_make_no_difference():
    rng = np.random.default_rng(8)
    logits, labels = rng.normal(0, 3, (100, 3)), rng.integers(0, 3, 100)
    cut = [(logits[:7], labels[:7]), (logits[7:], labels[7:])]
    assert measured(cut) == measured(cut[::-1]) == measured([(logits, labels)])


def test_a_model_that_is_right_as_often_as_it_says_has_no_error_and_one_that_is_too_sure_has():
    even = np.log([[0.75, 0.25]] * 4)
    labels = [0, 0, 0, 1]
    assert measured([(even, labels)])["ece"] == pytest.approx(0, abs=1e-8)
    assert measured([(even * 100, labels)])["ece"] == pytest.approx(0.25, abs=1e-8)


@pytest.mark.parametrize("odd", [-np.inf, np.inf, np.nan])
def test_outputs_that_are_not_finite_leave_the_metric_out_and_stop_no_evaluation(odd):
    fine = ([[1.0, 0.0]], [0])
    assert measured([fine, ([[1.0, odd]], [0]), fine]) == {}


def test_nothing_is_told_of_no_examples():
    assert measured([]) == {}
    assert measured([(np.zeros((0, 3)), np.zeros(0, np.int64))]) == {}


def test_labels_that_are_no_classes_are_refused_by_number():
    with pytest.raises(ValueError, match=r"a label is 2; the 2 classes are 0 to 1"):
        Confidence().add([[1.0, 0.0]], [2])


def measured(batches):
    sureness = Confidence()
    for logits, labels in batches:
        sureness.add(logits, labels)
    return sureness.metrics()
