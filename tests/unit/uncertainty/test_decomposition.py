"""Entropies against scipy, spreads against numpy's, and what has no spread."""

import numpy as np
import pytest
from scipy import special, stats

from hansa.uncertainty.decomposition import contract_uncertainty, information, mixture, spread
from hansa.uncertainty.probabilities import Outputs

SEED = 20261
LOGITS = np.random.default_rng(SEED).normal(0, 3, (7, 11, 5))
PROBABILITIES = special.softmax(LOGITS, axis=2)


def test_entropies_are_scipys() -> None:
    found = information(PROBABILITIES, Outputs.PROBABILITIES)
    predictive = stats.entropy(PROBABILITIES.mean(axis=0), axis=1)
    expected = np.mean([stats.entropy(one, axis=1) for one in PROBABILITIES], axis=0)
    assert found.predictive_entropy == pytest.approx(predictive, rel=1e-12)
    assert found.expected_entropy == pytest.approx(expected, rel=1e-12)
    assert found.mutual_information == pytest.approx(predictive - expected, rel=1e-9)


def test_mutual_information_is_the_mean_divergence_from_the_mean() -> None:
    """The other form of BALD: the mean over the passes of KL(p_n || mean p)."""
    mean = PROBABILITIES.mean(axis=0)
    divergence = np.mean([special.rel_entr(one, mean).sum(axis=1) for one in PROBABILITIES], axis=0)
    assert information(PROBABILITIES, Outputs.PROBABILITIES).mutual_information == pytest.approx(divergence, rel=1e-9)


def test_logits_and_their_probabilities_say_the_same() -> None:
    by_logits = information(LOGITS, Outputs.LOGITS)
    by_log_probabilities = information(special.log_softmax(LOGITS, axis=2), Outputs.LOGITS)
    wanted = information(PROBABILITIES, Outputs.PROBABILITIES)
    for found in (by_logits, by_log_probabilities):
        assert found.predictive_entropy == pytest.approx(wanted.predictive_entropy, rel=1e-12)
        assert found.mutual_information == pytest.approx(wanted.mutual_information, rel=1e-9)


def test_entropies_of_certain_passes_are_exactly_0() -> None:
    certain = np.zeros((3, 2, 4))
    certain[:, :, 1] = 1
    found = information(certain, Outputs.PROBABILITIES)
    for entropies in (found.predictive_entropy, found.expected_entropy, found.mutual_information):
        assert entropies.tolist() == [0.0, 0.0]
        assert not np.signbit(entropies).any()


def test_equal_passes_have_no_mutual_information_whatever_rounding_does() -> None:
    rng = np.random.default_rng(SEED)
    one = special.softmax(rng.normal(size=(1000, 7)), axis=1)
    found = information(np.broadcast_to(one, (13, 1000, 7)), Outputs.PROBABILITIES).mutual_information
    assert (found >= 0).all(), f"seed {SEED}"
    assert found.max() < 1e-14


def test_logits_of_any_size_have_entropies() -> None:
    found = information([[[1e308, -1e308]], [[0.0, 0.0]]], Outputs.LOGITS)
    assert found.expected_entropy == pytest.approx([np.log(2) / 2])


def test_every_pixel_has_its_own() -> None:
    pixels = np.broadcast_to(PROBABILITIES[..., np.newaxis, np.newaxis], (7, 11, 5, 2, 3))
    found = information(pixels, Outputs.PROBABILITIES)
    assert found.predictive_entropy.shape == (11, 2, 3)
    assert found.predictive_entropy[:, 1, 2] == pytest.approx(stats.entropy(PROBABILITIES.mean(axis=0), axis=1))


def test_float16_rows_of_a_thousand_classes_are_probabilities() -> None:
    logits = np.random.default_rng(SEED).normal(0, 1, (2, 3, 1000))
    rows = special.softmax(logits, axis=2)
    found = information(rows.astype(np.float16), Outputs.PROBABILITIES)
    assert found.expected_entropy == pytest.approx(stats.entropy(rows, axis=2).mean(axis=0), rel=1e-2)


@pytest.mark.parametrize(
    ("outputs", "kind", "reason"),
    [
        ([[[2.0, -1.0]]], Outputs.PROBABILITIES, r"is -1; it is within \[0, 1\]. Are the outputs logits"),
        ([[[0.2, 0.2]]], Outputs.PROBABILITIES, r"add up to 0.4, not to 1"),
        ([[[0.7]]], Outputs.PROBABILITIES, r"1 classes; 2 or more"),
        ([[[0.7, 0.3]]], Outputs.VALUES, "declared to be values"),
        ([[[np.nan, 0.3]]], Outputs.LOGITS, "NaN or infinity"),
        ([[0.7, 0.3]], Outputs.LOGITS, r"shape \(1, 2\); \(passes, inputs, outputs\)"),
        (np.zeros((0, 2, 2)), Outputs.LOGITS, "1 pass or more"),
        ([[["a", "b"]]], Outputs.LOGITS, "real numbers are wanted"),
    ],
)
def test_what_is_not_as_declared_is_refused(outputs: object, kind: Outputs, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        information(outputs, kind)  # type: ignore[arg-type]  # what a caller could send


# Spread


def test_the_spread_is_unbiased() -> None:
    found = spread(LOGITS.astype(np.float32))
    assert found.mean == pytest.approx(LOGITS.mean(axis=0), rel=1e-6, abs=1e-6)
    assert found.variance == pytest.approx(LOGITS.var(axis=0, ddof=1), rel=1e-5)
    assert found.std == pytest.approx(LOGITS.std(axis=0, ddof=1), rel=1e-5)
    assert found.mean.dtype == np.float64
    assert not found.single_pass


def test_a_single_pass_has_no_spread_which_is_not_0() -> None:
    found = spread(LOGITS[:1])
    assert found.single_pass
    assert (found.variance, found.std) == (None, None)
    assert (found.mean == LOGITS[0]).all()


# The older contract


def test_the_older_contract_gives_entropies_only_within_0_and_1() -> None:
    assert contract_uncertainty(LOGITS).keys() == {"variance", "std"}
    told = contract_uncertainty(PROBABILITIES)
    assert told.keys() == {"variance", "std", "predictive_entropy", "expected_entropy", "mutual_info"}
    wanted = information(PROBABILITIES, Outputs.PROBABILITIES)
    assert told["mutual_info"] == pytest.approx(wanted.mutual_information, rel=1e-9)


def test_the_older_contract_normalises_rows_before_their_entropy() -> None:
    told = contract_uncertainty([[[0.2, 0.2]], [[0.9, 0.9]]])
    assert told["predictive_entropy"] == pytest.approx([np.log(2)])
    assert told["mutual_info"] == pytest.approx([0.0])


def test_the_older_contract_leaves_out_what_is_not_defined() -> None:
    assert contract_uncertainty(LOGITS[:1]).keys() == set()
    assert contract_uncertainty([[[0.0, 0.0]], [[1.0, 0.0]]]).keys() == {"variance", "std"}


# Regression


def test_the_variance_of_a_mixture_is_that_of_its_samples() -> None:
    rng = np.random.default_rng(SEED)
    means, deviations = rng.normal(0, 2, 5), rng.uniform(0.5, 2, 5)
    samples = rng.normal(means, deviations, (400_000, 5))
    found = mixture(means.reshape(5, 1, 1), np.square(deviations).reshape(5, 1, 1))
    error = 4 * samples.var() * np.sqrt(2 / samples.size) * 2
    assert found.total[0, 0] == pytest.approx(samples.var(), abs=error), f"seed {SEED}"
    assert found.mean[0, 0] == pytest.approx(means.mean())


def test_total_variance_is_epistemic_and_aleatoric() -> None:
    rng = np.random.default_rng(SEED)
    means, variances = rng.normal(size=(4, 3, 2)), rng.uniform(size=(4, 3, 2))
    found = mixture(means, variances)
    paper = (variances + np.square(means)).mean(axis=0) - np.square(means.mean(axis=0))
    assert found.total == pytest.approx(paper)
    assert found.aleatoric is not None
    assert found.total == pytest.approx(found.epistemic + found.aleatoric)


def test_without_variances_of_its_own_a_model_has_no_aleatoric_part() -> None:
    found = mixture([[[1.0]], [[3.0]]])
    assert found.aleatoric is None
    assert found.total == found.epistemic == 1.0


def test_small_variances_beside_large_means_are_kept() -> None:
    found = mixture([[[1e9]], [[1e9 + 1]]], [[[1.0]], [[1.0]]])
    assert found.total[0, 0] == 1.25


@pytest.mark.parametrize(
    ("variances", "reason"),
    [([[[1.0]]], r"shape \(1, 1, 1\); the means have \(2, 1, 1\)"), ([[[1.0]], [[-2.0]]], "is -2")],
)
def test_variances_that_cannot_be_are_refused(variances: list[list[list[float]]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        mixture([[[1.0]], [[3.0]]], variances)
