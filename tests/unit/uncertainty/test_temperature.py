"""Loss sums against a direct computation, and the temperature they lead to against a fine search."""

import numpy as np
import pytest
from scipy import special

from hansa.uncertainty.calibration import calibration_error, tally
from hansa.uncertainty.reports import ReportError
from hansa.uncertainty.temperature import LOSS_CAP, TEMPERATURES, LossSums, best, loss_sums, merged, tempered

SEED = 20263
ONE = TEMPERATURES.index(1.0)


def overconfident(examples: int, factor: float, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times those that the labels were drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (examples, 6))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits * factor, labels


def direct(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(-special.log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())


def test_means_are_those_of_a_direct_computation() -> None:
    logits, labels = overconfident(5000, 3)
    sums = loss_sums(logits.astype(np.float32), labels)
    for place, temperature in enumerate(TEMPERATURES):
        wanted = direct(logits.astype(np.float32).astype(np.float64), labels, temperature)
        assert sums.mean(place) == pytest.approx(wanted, rel=0, abs=1e-7)


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_the_temperature_is_that_of_a_fine_search_over_all_examples_of_all_clients(factor: float) -> None:
    logits, labels = overconfident(6000, factor)
    parts = [loss_sums(logits[start::3], labels[start::3]) for start in range(3)]
    found = best(merged(parts))
    fine = np.geomspace(found.value / 1.1, found.value * 1.1, 401)
    exact = fine[np.argmin([direct(logits, labels, temperature) for temperature in fine])]
    assert found.value == pytest.approx(exact, rel=2e-3), f"seed {SEED}"
    assert found.value == pytest.approx(factor, rel=0.08), f"seed {SEED}"
    assert (found.at_edge, found.examples) == (False, 6000)


def test_the_calibration_error_falls_and_the_predictions_stay() -> None:
    logits, labels = overconfident(4000, 3)
    new_logits, new_labels = overconfident(4000, 3, seed=SEED + 1)
    temperature = best(loss_sums(logits, labels)).value
    before, after = tempered(new_logits, 1.0), tempered(new_logits, temperature)
    assert calibration_error(tally(before, new_labels)) > 0.15
    assert calibration_error(tally(after, new_labels)) < 0.03
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()


def test_a_least_loss_that_may_lie_beyond_the_grid_is_named() -> None:
    always_right = best(loss_sums([[0.5, 0.0]] * 5, [0] * 5))
    always_wrong = best(loss_sums([[0.5, 0.0]] * 5, [1] * 5))
    assert (always_right.value, always_right.at_edge) == (TEMPERATURES[0], True)
    assert (always_wrong.value, always_wrong.at_edge) == (TEMPERATURES[-1], True)


def test_where_losses_are_too_small_to_count_the_temperature_goes_no_further_from_1() -> None:
    found = best(loss_sums([[10.0, 0.0]] * 5, [0] * 5))
    assert found.at_edge
    assert 0.5 < found.value < 1


def test_logits_that_say_nothing_keep_the_temperature_1() -> None:
    found = best(loss_sums([[0.0, 0.0]] * 5, [0, 1, 0, 1, 0]))
    assert (found.value, found.at_edge) == (1.0, True)


def test_losses_without_bound_are_capped() -> None:
    sums = loss_sums([[1e308, -1e308]], [1])
    assert sums.mean(ONE) == LOSS_CAP
    assert tempered([[1e308, -1e308]], 1 / 16).tolist() == [[1.0, 0.0]]


def test_many_rows_are_taken_in_pieces() -> None:
    logits, labels = overconfident(4096 * 2 + 5, 1)
    pieces = [loss_sums(logits[start::2], labels[start::2]) for start in range(2)]
    assert merged(pieces) == loss_sums(logits, labels)


def test_of_no_examples_there_is_no_temperature() -> None:
    nothing = merged([])
    assert nothing == loss_sums(np.zeros((0, 3)), [])
    with pytest.raises(ValueError, match="no examples"):
        best(nothing)
    with pytest.raises(ValueError, match="no examples"):
        nothing.mean(0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_are_finite_and_above_0(value: float) -> None:
    with pytest.raises(ValueError, match="finite and greater than 0"):
        tempered([[1.0, 2.0]], value)


SUMS = (1,) * len(TEMPERATURES)


@pytest.mark.parametrize(
    ("sums", "count", "grid", "field"),
    [
        (SUMS[1:], 1, "temperatures-8", "sums"),
        ((-1, *SUMS[1:]), 1, "temperatures-8", r"sums\[0\]"),
        ((0.5, *SUMS[1:]), 1, "temperatures-8", r"sums\[0\]"),
        ((float("nan"), *SUMS[1:]), 1, "temperatures-8", r"sums\[0\]"),
        ((True, *SUMS[1:]), 1, "temperatures-8", r"sums\[0\]"),
        (SUMS, 0, "temperatures-8", "sums"),
        ((2**60, *SUMS[1:]), 1, "temperatures-8", "sums"),
        (SUMS, -1, "temperatures-8", "count"),
        (SUMS, 1, "temperatures-4", "grid"),
    ],
)
def test_losses_that_no_examples_have_are_refused_by_field(
    sums: tuple[int, ...], count: int, grid: str, field: str
) -> None:
    with pytest.raises(ReportError, match=rf"^{field}: "):
        LossSums(sums, count, grid)


@pytest.mark.parametrize(
    ("logits", "labels", "reason"),
    [
        ([[1.0, 2.0]], [2], "a label is 2; the 2 classes are 0 to 1"),
        ([[1.0, 2.0]], [-1], "a label is -1"),
        ([[1.0, 2.0]], [0.0], "dtype float64; the numbers of the right classes"),
        ([[1.0, 2.0]], [0, 1], r"shape \(2,\); the outputs are of 1"),
        ([[1.0, np.inf]], [0], "NaN or infinity"),
        ([1.0, 2.0], [0], "2 axes"),
    ],
)
def test_examples_that_cannot_be_are_refused(logits: list[list[float]], labels: list[int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        loss_sums(logits, labels)
