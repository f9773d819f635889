"""Several predictions of the same inputs, taken apart: what they agree on, and how far they differ.

Y is the stack of N passes (members of an ensemble, dropout masks, draws of weights) over B inputs with C outputs each:
shape (N, B, C), or (N, B, C, …) where there is an answer for every pixel. All arithmetic is in float64.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hansa.uncertainty.probabilities import Floats, Outputs, as_probabilities

_CLASSES = 2  # the axis of a stack


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Mean, variance and standard deviation over the passes, each (B, C).

    The variance is the unbiased one, Σ (y - mean)² / (N - 1). `single_pass`: N is 1, and one prediction has none; then
    both are None, which is not the same as 0.
    """

    mean: Floats
    variance: Floats | None
    std: Floats | None

    @property
    def single_pass(self) -> bool:
        """Whether there was nothing to compare with."""
        return self.variance is None


@dataclass(frozen=True, slots=True, eq=False)
class Information:
    """Entropies in nats, each (B,): total = expected + mutual.

    Predictive entropy is the whole uncertainty of the mean prediction; expected entropy the part that every pass has by
    itself (of the data, aleatoric); mutual information what the passes disagree in (of the model, epistemic).
    """

    predictive_entropy: Floats
    expected_entropy: Floats
    mutual_information: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Mean and variance of an equal mixture of N predictions, each (B, C); total = epistemic + aleatoric.

    `aleatoric` is None where the model gives no variance of its own; then the total is only what the passes differ by.
    """

    mean: Floats
    epistemic: Floats
    aleatoric: Floats | None
    total: Floats


def stack_of(predictions: ArrayLike) -> Floats:
    """Y in float64. Raises ValueError for fewer than three axes, none of a size, and values that are not finite."""
    stack = np.asarray(predictions)
    if stack.ndim < 3 or not stack.shape[0]:
        raise ValueError(
            f"the predictions have shape {stack.shape}; (passes, inputs, outputs) is wanted, 1 pass or more"
        )
    if stack.dtype.kind not in "fiu":
        raise ValueError(f"the predictions have dtype {stack.dtype}; real numbers are wanted")
    stack = stack.astype(np.float64)
    if not np.isfinite(stack).all():
        raise ValueError(
            "the predictions hold NaN or infinity; their spread is not defined. Is the version a good one?"
        )
    return stack


def spread(predictions: ArrayLike) -> Spread:
    """How far the passes lie apart. Raises ValueError as `stack_of` does.

    >>> of_two = spread([[[1.0]], [[3.0]]])
    >>> of_two.mean, of_two.variance, spread([[[1.0]]]).single_pass
    (array([[2.]]), array([[2.]]), True)
    """
    stack = stack_of(predictions)
    mean = stack.mean(axis=0)
    if len(stack) == 1:
        return Spread(mean, None, None)
    variance = np.asarray(stack.var(axis=0, ddof=1), np.float64)
    return Spread(mean, variance, np.sqrt(variance))


def information(predictions: ArrayLike, outputs: Outputs) -> Information:
    """Entropies of class probabilities p_n, of which logits are made first.

        predictive = H(mean_n p_n)    expected = mean_n H(p_n)    mutual = predictive - expected
        H(p) = -Σ_c p_c ln p_c

    Mutual information between the prediction and the weights: Houlsby et al. 2011, arXiv:1112.5745, eq. 2 (BALD); for
    dropout Gal et al. 2017, arXiv:1703.02910, section 3. 0 ln 0 is 0. As H is concave the difference is never negative;
    where rounding (some 1e-16) makes it so, 0 is given for it. Raises ValueError as `stack_of` does, and for outputs
    that are not as declared.

    >>> certain_but_divided = information([[[1.0, 0.0]], [[0.0, 1.0]]], Outputs.PROBABILITIES)
    >>> certain_but_divided.expected_entropy, certain_but_divided.mutual_information.round(3)
    (array([0.]), array([0.693]))
    """
    return _information(as_probabilities(stack_of(predictions), outputs, axis=_CLASSES))


def contract_uncertainty(predictions: ArrayLike) -> dict[str, Floats]:
    """The names and the rule of the older contract, which guesses: entropies where all of Y lies within [0, 1].

    `variance` and `std` (B, C), unbiased; with such a Y also `predictive_entropy`, `expected_entropy` and
    `mutual_info` (B,), of rows normalised to a sum of 1. What is not defined is left out instead of NaN, which JSON
    has no word for: variance and std of a single pass, entropies where a row has only zeros. Logits that happen to lie
    within [0, 1] get entropies that mean nothing: declare what the outputs are, and use `information`.
    """
    stack = stack_of(predictions)
    found = spread(stack)
    told = {}
    if found.variance is not None and found.std is not None:
        told = {"variance": found.variance, "std": found.std}
    sums = stack.sum(axis=_CLASSES, keepdims=True)
    if stack.size and ((stack >= 0) & (stack <= 1)).all() and (sums > 0).all():
        known = _information(stack / sums)
        told["predictive_entropy"] = known.predictive_entropy
        told["expected_entropy"] = known.expected_entropy
        told["mutual_info"] = known.mutual_information
    return told


def mixture(means: ArrayLike, variances: ArrayLike | None = None) -> Mixture:
    """N predictions of numbers, with or without a variance of their own, as one mixture of equal parts.

        mean = (1/N) Σ μ_n
        total = (1/N) Σ (sigma²_n + μ²_n) - mean²  =  mean of sigma²_n  +  variance of μ_n (by N, not N - 1)

    Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4. The variance of the means is summed up around their
    mean, as the paper's difference of squares loses digits. Raises ValueError as `stack_of` does, for variances of
    another shape, and for a negative one.

    >>> both = mixture([[[1.0]], [[3.0]]], [[[0.5]], [[1.5]]])
    >>> both.epistemic, both.aleatoric, both.total
    (array([[1.]]), array([[1.]]), array([[2.]]))
    """
    stack = stack_of(means)
    epistemic = np.asarray(stack.var(axis=0), np.float64)
    if variances is None:
        return Mixture(stack.mean(axis=0), epistemic, None, epistemic)
    own = stack_of(variances)
    if own.shape != stack.shape:
        raise ValueError(f"the variances have shape {own.shape}; the means have {stack.shape}")
    if (own < 0).any():
        raise ValueError(f"a variance is {own.min():g}; it is 0 or more. Does the model give its logarithm?")
    aleatoric = own.mean(axis=0)
    return Mixture(stack.mean(axis=0), epistemic, aleatoric, epistemic + aleatoric)


def entropy(probabilities: Floats, axis: int = -1) -> Floats:
    """-Σ p ln p in nats along an axis, 0 ln 0 = 0; of rows that add up to 1.

    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4)
    array([0.6931, 0.    ])
    """
    logs = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    total: Floats = -(probabilities * logs).sum(axis=axis)
    return np.maximum(total, 0.0)  # also of -0.0


def _information(probabilities: Floats) -> Information:
    predictive = entropy(probabilities.mean(axis=0), axis=_CLASSES - 1)
    expected = entropy(probabilities, axis=_CLASSES).mean(axis=0)
    return Information(predictive, expected, np.maximum(predictive - expected, 0.0))
