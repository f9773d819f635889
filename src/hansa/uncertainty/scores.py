"""Conformal scores: how badly an answer agrees with a prediction, 0 for best.

Calibration and prediction use the same one. Of classes, (n, C) scores in [0, 1], one for each class:

    least_ambiguous    1 - p_c: the smallest sets on average. Sadinle et al. 2019, arXiv:1609.00451, section 2
    adaptive           Σ of all p that are larger, and a random part of p_c: larger sets for harder inputs.
                       APS, Romano et al. 2020, arXiv:2006.02544, section 2

Of numbers, (n,) scores from 0 up:

    residuals          |y - ŷ|: intervals of one width; or |y - ŷ| / sigma(x): width in proportion to the sigma that the
                       model gives for each input. Lei et al. 2018, arXiv:1604.04173, section 5.2
"""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from hansa.uncertainty.probabilities import Floats, Labels, floats
from hansa.uncertainty.sketches import Grid


class Rule(StrEnum):
    """Which score a calibration is made of."""

    LAC = "lac"
    APS = "aps"
    RESIDUAL = "residual"

    @property
    def grid(self) -> Grid:
        """On which its scores are counted."""
        return Grid.POSITIVE if self is Rule.RESIDUAL else Grid.UNIT

    def of_classes(self, probabilities: Floats, dice: Floats) -> Floats:
        """The scores of all classes, (n, C), of rows that `class_probabilities` made; only `aps` throws dice.

        Raises ValueError for `residual`, which is for numbers.
        """
        if self is Rule.RESIDUAL:
            raise ValueError("the scores are residuals, which are for numbers; of classes they are lac or aps")
        return adaptive(probabilities, dice) if self is Rule.APS else least_ambiguous(probabilities)


def least_ambiguous(probabilities: Floats) -> Floats:
    """1 - p_c for each class, (n, C), of rows that `class_probabilities` made.

    >>> least_ambiguous(np.array([[0.75, 0.25]]))
    array([[0.25, 0.75]])
    """
    return np.clip(1.0 - probabilities, 0.0, 1.0)


def adaptive(probabilities: Floats, dice: Floats | None = None) -> Floats:
    """The probability of all classes before c, in falling order, and of c itself by chance: (n, C).

    Of equal classes the first comes first. With dice u (n,), uniform in [0, 1) and drawn anew for each input, p_c
    counts as (1 - u)·p_c; one u is for all classes of an input. Coverage is then what was asked, up to ties. Without
    dice p_c does not count, as with u = 1: the sets are the same every time and never empty, as the likeliest class has
    score 0, and so cover at least the model's accuracy, be that more than was asked. Raises ValueError for dice of
    another shape or outside of [0, 1].

    >>> adaptive(np.array([[0.25, 0.5, 0.25]])), adaptive(np.array([[0.25, 0.5, 0.25]]), np.array([0.5]))
    (array([[0.5 , 0.  , 0.75]]), array([[0.625, 0.25 , 0.875]]))
    """
    falling = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, falling, axis=1)
    thrown = np.ones(len(probabilities)) if dice is None else floats("dice", dice, 1)
    if thrown.shape != probabilities.shape[:1] or ((thrown < 0) | (thrown > 1)).any():
        raise ValueError(f"dice of shape {thrown.shape}: one within [0, 1] for each of {len(probabilities)} is wanted")
    scores = np.empty_like(ordered)
    np.put_along_axis(scores, falling, np.cumsum(ordered, axis=1) - thrown[:, np.newaxis] * ordered, axis=1)
    return np.clip(scores, 0.0, 1.0)


def of_labels(scores: Floats, labels: Labels) -> Floats:
    """The score of the right class of each input, (n, C) and (n,) -> (n,): what a client makes its sketch of."""
    return scores[np.arange(len(labels)), labels]


def residuals(predicted: ArrayLike, answers: ArrayLike, sigma: ArrayLike | None = None) -> Floats:
    """|y - ŷ|, or |y - ŷ| / sigma, of predictions (n,) or (n, C) and answers of the same shape -> (n,).

    Of several outputs the largest counts: intervals then hold all outputs of an input at once. Raises ValueError for
    shapes that differ, and for a sigma that is not greater than 0.

    >>> residuals([[1.0, 2.0]], [[1.5, 4.0]])
    array([2.])
    """
    guesses = np.asarray(predicted)
    if guesses.ndim not in {1, 2}:
        raise ValueError(f"the predictions have shape {guesses.shape}; (inputs,) or (inputs, outputs) is wanted")
    distances = np.abs(_like(guesses, "answers", answers) - floats("predictions", guesses, guesses.ndim))
    if sigma is not None:
        distances /= positive(_like(guesses, "sigma", sigma))
    return distances if distances.ndim == 1 else np.asarray(distances.max(axis=1), np.float64)


def positive(sigma: Floats) -> Floats:
    """The standard deviations themselves. Raises ValueError for one that is not greater than 0."""
    if (sigma <= 0).any():
        raise ValueError(f"a sigma is {sigma.min():g}; it is greater than 0. Does the model give its logarithm?")
    return sigma


def _like(guesses: np.ndarray[tuple[int, ...], np.dtype[np.generic]], name: str, values: ArrayLike) -> Floats:
    if np.shape(values) != guesses.shape:
        raise ValueError(f"the {name} have shape {np.shape(values)}; the predictions have {guesses.shape}")
    return floats(name, values, guesses.ndim)
